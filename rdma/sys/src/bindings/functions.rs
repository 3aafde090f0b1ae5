// Written by regenerate/. Do not edit.

use super::types::*;
use crate::opaque::*;
use libc::sockaddr;

/// What pagecast asks of a device. The shim's own layout, because `struct ibv_device_attr_ex` grows with rdma-core.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pc_device_attr {
    /// Firmware version, NUL-terminated.
    pub fw_ver: [std::ffi::c_char; 64usize],
    /// Node GUID in wire (big-endian) order.
    pub node_guid: [u8; 8usize],
    /// System image GUID in wire (big-endian) order.
    pub sys_image_guid: [u8; 8usize],
    /// Largest region that can be registered, in bytes.
    pub max_mr_size: u64,
    /// Bit n set: pages of 2^n bytes are supported.
    pub page_size_cap: u64,
    /// `IBV_DEVICE_*` flags; the upper half is 0 when the provider knows only the legacy query.
    pub device_cap_flags: u64,
    /// On-demand paging: `ibv_odp_general_caps` bits. 0 when unsupported or unknown.
    pub odp_general_caps: u64,
    /// On-demand paging on RC queue pairs: `ibv_odp_transport_cap_bits`.
    pub odp_rc_caps: u32,
    /// Vendor id (IEEE OUI).
    pub vendor_id: u32,
    /// Vendor's part id.
    pub vendor_part_id: u32,
    /// Hardware version.
    pub hw_ver: u32,
    /// Queue pairs.
    pub max_qp: i32,
    /// Work requests on any one queue.
    pub max_qp_wr: i32,
    /// Scatter/gather entries per work request.
    pub max_sge: i32,
    /// Scatter/gather entries per RDMA READ work request.
    pub max_sge_rd: i32,
    /// Completion queues.
    pub max_cq: i32,
    /// Entries per completion queue.
    pub max_cqe: i32,
    /// Memory regions.
    pub max_mr: i32,
    /// Protection domains.
    pub max_pd: i32,
    /// Inbound RDMA READs and atomics outstanding per queue pair (responder resources).
    pub max_qp_rd_atom: i32,
    /// Inbound RDMA READs and atomics outstanding on the whole device.
    pub max_res_rd_atom: i32,
    /// Outbound RDMA READs and atomics outstanding per queue pair (initiator depth).
    pub max_qp_init_rd_atom: i32,
    /// Shared receive queues.
    pub max_srq: i32,
    /// Work requests per shared receive queue.
    pub max_srq_wr: i32,
    /// Scatter/gather entries per shared receive queue work request.
    pub max_srq_sge: i32,
    /// P_Keys per partition table.
    pub max_pkeys: u32,
    /// Physical ports; ports are numbered from 1.
    pub phys_port_cnt: u32,
}
impl Default for pc_device_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// What pagecast asks of a port. The shim's own layout, because `struct ibv_port_attr` grows with rdma-core.
#[repr(C)]
pub struct pc_port_attr {
    /// Logical state.
    pub state: ibv_port_state,
    /// Largest MTU the port supports.
    pub max_mtu: ibv_mtu,
    /// MTU in use.
    pub active_mtu: ibv_mtu,
    /// Entries in the GID table.
    pub gid_tbl_len: u32,
    /// `IBV_PORT_*` capability flags.
    pub port_cap_flags: u32,
    /// Largest message, in bytes.
    pub max_msg_sz: u32,
    /// Entries in the P_Key table.
    pub pkey_tbl_len: u16,
    /// Base local id; 0 on Ethernet.
    pub lid: u16,
    /// Local id of the subnet manager.
    pub sm_lid: u16,
    /// Local id mask count.
    pub lmc: u8,
    /// Service level of the subnet manager.
    pub sm_sl: u8,
    /// Width encoding (IBTA PortInfo:LinkWidthActive).
    pub active_width: u8,
    /// Speed encoding (IBTA PortInfo:LinkSpeedActive).
    pub active_speed: u8,
    /// Physical state encoding (IBTA PortInfo:PortPhysicalState).
    pub phys_state: u8,
    /// One of `IBV_LINK_LAYER_*`.
    pub link_layer: u8,
}
impl Default for pc_port_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
/// One fact about the installed headers: a size, an alignment, an offset or a constant.
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct pc_layout_entry {
    /// What was measured, such as `offsetof ibv_wc.qp_num`.
    pub name: *const std::ffi::c_char,
    /// The measurement.
    pub value: i64,
}
impl Default for pc_layout_entry {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
unsafe extern "C" {
    /// All RDMA devices, as a NULL-terminated array. `num_devices` may be NULL. NULL+errno; free with `pc_free_device_list`.
    pub fn pc_get_device_list(num_devices: *mut std::ffi::c_int) -> *mut *mut ibv_device;
    /// Frees the array. Devices that were not opened must not be used afterwards.
    pub fn pc_free_device_list(list: *mut *mut ibv_device);
    /// Kernel name, such as `mlx5_0`. Lives as long as the device.
    pub fn pc_get_device_name(device: *mut ibv_device) -> *const std::ffi::c_char;
    /// Node GUID in wire (big-endian) order. Writes 8 bytes to `guid`.
    pub fn pc_get_device_guid(device: *mut ibv_device, guid: *mut u8);
    /// `ibv_node_type` of the device.
    pub fn pc_device_node_type(device: *const ibv_device) -> ibv_node_type;
    /// Opens a device. NULL+errno; close with `pc_close_device`.
    pub fn pc_open_device(device: *mut ibv_device) -> *mut ibv_context;
    /// Closes a device opened by `pc_open_device`, and nothing else: librdmacm owns its own contexts. -1+errno.
    pub fn pc_close_device(context: *mut ibv_context) -> std::ffi::c_int;
    /// The device that a context is open on.
    pub fn pc_context_device(context: *const ibv_context) -> *mut ibv_device;
    /// Descriptor that becomes readable when `pc_get_async_event` has an event. Owned by the context.
    pub fn pc_context_async_fd(context: *const ibv_context) -> std::ffi::c_int;
    /// Descriptor of the uverbs device. Owned by the context.
    pub fn pc_context_cmd_fd(context: *const ibv_context) -> std::ffi::c_int;
    /// Completion vectors: `comp_vector` of `pc_create_cq` must be below this.
    pub fn pc_context_num_comp_vectors(context: *const ibv_context) -> std::ffi::c_int;
    /// Device attributes, on-demand paging capabilities included. errno value.
    pub fn pc_query_device(context: *mut ibv_context, attr: *mut pc_device_attr)
    -> std::ffi::c_int;
    /// Port attributes; ports are numbered from 1. errno value.
    pub fn pc_query_port(
        context: *mut ibv_context,
        port_num: u8,
        attr: *mut pc_port_attr,
    ) -> std::ffi::c_int;
    /// One entry of a port's GID table. Returns 0, or -1; errno is not always set.
    pub fn pc_query_gid(
        context: *mut ibv_context,
        port_num: u8,
        index: std::ffi::c_int,
        gid: *mut ibv_gid,
    ) -> std::ffi::c_int;
    /// One entry of a port's P_Key table, in network byte order. Returns 0, or -1; errno is not always set.
    pub fn pc_query_pkey(
        context: *mut ibv_context,
        port_num: u8,
        index: std::ffi::c_int,
        pkey_be: *mut u16,
    ) -> std::ffi::c_int;
    /// Allocates a protection domain. NULL+errno.
    pub fn pc_alloc_pd(context: *mut ibv_context) -> *mut ibv_pd;
    /// Frees a protection domain. errno value; EBUSY while anything made from it lives.
    pub fn pc_dealloc_pd(pd: *mut ibv_pd) -> std::ffi::c_int;
    /// Registers memory. `access` is a set of `ibv_access_flags`. NULL+errno.
    pub fn pc_reg_mr(
        pd: *mut ibv_pd,
        addr: *mut std::ffi::c_void,
        length: usize,
        access: std::ffi::c_uint,
    ) -> *mut ibv_mr;
    /// Deregisters memory and frees `mr`. errno value.
    pub fn pc_dereg_mr(mr: *mut ibv_mr) -> std::ffi::c_int;
    /** Prefetch advice on ranges of on-demand regions; `flags` is a set of `ib_uverbs_advise_mr_flag`.
    errno value; EOPNOTSUPP when the provider has no such call.*/
    pub fn pc_advise_mr(
        pd: *mut ibv_pd,
        advice: ib_uverbs_advise_mr_advice,
        flags: u32,
        sg_list: *mut ibv_sge,
        num_sge: u32,
    ) -> std::ffi::c_int;
    /// Creates a channel for completion events, with a descriptor of its own. NULL+errno.
    pub fn pc_create_comp_channel(context: *mut ibv_context) -> *mut ibv_comp_channel;
    /// Destroys a channel. errno value; EBUSY while a completion queue uses it.
    pub fn pc_destroy_comp_channel(channel: *mut ibv_comp_channel) -> std::ffi::c_int;
    /** Next completion event. Blocks unless the channel's descriptor is non-blocking (then EAGAIN).
    -1+errno. Each event must be acknowledged with `pc_ack_cq_events`, or destroying the queue blocks for ever.*/
    pub fn pc_get_cq_event(
        channel: *mut ibv_comp_channel,
        cq: *mut *mut ibv_cq,
        cq_context: *mut *mut std::ffi::c_void,
    ) -> std::ffi::c_int;
    /// Acknowledges `nevents` completion events. Takes a lock: batch the calls.
    pub fn pc_ack_cq_events(cq: *mut ibv_cq, nevents: std::ffi::c_uint);
    /// Creates a completion queue; `channel` may be NULL when it is only polled. NULL+errno.
    pub fn pc_create_cq(
        context: *mut ibv_context,
        cqe: std::ffi::c_int,
        cq_context: *mut std::ffi::c_void,
        channel: *mut ibv_comp_channel,
        comp_vector: std::ffi::c_int,
    ) -> *mut ibv_cq;
    /// Blocks until the queue's events are acknowledged. errno value; EBUSY while a queue pair uses the queue.
    pub fn pc_destroy_cq(cq: *mut ibv_cq) -> std::ffi::c_int;
    /// Entries the queue really has, at least what was asked for.
    pub fn pc_cq_cqe(cq: *const ibv_cq) -> std::ffi::c_int;
    /// Number of completions written to `wc`, or a negative value that is not an errno.
    pub fn pc_poll_cq(
        cq: *mut ibv_cq,
        num_entries: std::ffi::c_int,
        wc: *mut ibv_wc,
    ) -> std::ffi::c_int;
    /// Arms one event for the next completion, or for the next solicited one. errno value.
    pub fn pc_req_notify_cq(cq: *mut ibv_cq, solicited_only: std::ffi::c_int) -> std::ffi::c_int;
    /// Static text for a completion status, also for unknown ones.
    pub fn pc_wc_status_str(status: ibv_wc_status) -> *const std::ffi::c_char;
    /// Creates a queue pair; `attr.cap` is updated to what was allocated. NULL+errno.
    pub fn pc_create_qp(pd: *mut ibv_pd, attr: *mut ibv_qp_init_attr) -> *mut ibv_qp;
    /// Blocks until the pair's asynchronous events are acknowledged. errno value.
    pub fn pc_destroy_qp(qp: *mut ibv_qp) -> std::ffi::c_int;
    /// Changes the attributes in `attr_mask`, a set of `ibv_qp_attr_mask`. errno value.
    pub fn pc_modify_qp(
        qp: *mut ibv_qp,
        attr: *mut ibv_qp_attr,
        attr_mask: std::ffi::c_int,
    ) -> std::ffi::c_int;
    /// Reads the attributes in `attr_mask`, a set of `ibv_qp_attr_mask`; more than asked for may be filled in. errno value.
    pub fn pc_query_qp(
        qp: *mut ibv_qp,
        attr: *mut ibv_qp_attr,
        attr_mask: std::ffi::c_int,
        init_attr: *mut ibv_qp_init_attr,
    ) -> std::ffi::c_int;
    /// Queue pair number, 24 bits.
    pub fn pc_qp_num(qp: *const ibv_qp) -> u32;
    /// `qp_context` given at creation.
    pub fn pc_qp_context(qp: *const ibv_qp) -> *mut std::ffi::c_void;
    /// Posts a list of sends. errno value; `bad_wr` is then the first request that was not posted.
    pub fn pc_post_send(
        qp: *mut ibv_qp,
        wr: *mut ibv_send_wr,
        bad_wr: *mut *mut ibv_send_wr,
    ) -> std::ffi::c_int;
    /// Posts a list of receives. errno value; `bad_wr` is then the first request that was not posted.
    pub fn pc_post_recv(
        qp: *mut ibv_qp,
        wr: *mut ibv_recv_wr,
        bad_wr: *mut *mut ibv_recv_wr,
    ) -> std::ffi::c_int;
    /// Creates a shared receive queue; `attr.attr` is updated to what was allocated. NULL+errno.
    pub fn pc_create_srq(pd: *mut ibv_pd, attr: *mut ibv_srq_init_attr) -> *mut ibv_srq;
    /// Changes the attributes in `attr_mask`, a set of `ibv_srq_attr_mask`; arms the limit event with `IBV_SRQ_LIMIT`. errno value.
    pub fn pc_modify_srq(
        srq: *mut ibv_srq,
        attr: *mut ibv_srq_attr,
        attr_mask: std::ffi::c_int,
    ) -> std::ffi::c_int;
    /// Blocks until the queue's asynchronous events are acknowledged. errno value; EBUSY while a queue pair uses it.
    pub fn pc_destroy_srq(srq: *mut ibv_srq) -> std::ffi::c_int;
    /// `srq_context` given at creation.
    pub fn pc_srq_context(srq: *const ibv_srq) -> *mut std::ffi::c_void;
    /// Posts a list of receives. errno value; `bad_wr` is then the first request that was not posted.
    pub fn pc_post_srq_recv(
        srq: *mut ibv_srq,
        wr: *mut ibv_recv_wr,
        bad_wr: *mut *mut ibv_recv_wr,
    ) -> std::ffi::c_int;
    /** Next asynchronous event. Blocks unless the context's async descriptor is non-blocking (then EAGAIN).
    -1+errno. Each event must be acknowledged with `pc_ack_async_event`, or destroying its object blocks for ever.*/
    pub fn pc_get_async_event(
        context: *mut ibv_context,
        event: *mut ibv_async_event,
    ) -> std::ffi::c_int;
    /// Acknowledges an event from `pc_get_async_event`.
    pub fn pc_ack_async_event(event: *mut ibv_async_event);
    /// Static text for an event type, also for unknown ones.
    pub fn pc_event_type_str(event: ibv_event_type) -> *const std::ffi::c_char;
    /** Contexts of all RDMA devices, opened by librdmacm and open until the process ends; NULL-terminated.
    `num_devices` may be NULL. NULL+errno; free the array with `pc_rdma_free_devices`.*/
    pub fn pc_rdma_get_devices(num_devices: *mut std::ffi::c_int) -> *mut *mut ibv_context;
    /// Frees the array, not the contexts.
    pub fn pc_rdma_free_devices(list: *mut *mut ibv_context);
    /// Creates a channel for CM events, with a descriptor of its own. NULL+errno.
    pub fn pc_create_event_channel() -> *mut rdma_event_channel;
    /// Destroys a channel. Every id of it must be destroyed, and every event acknowledged, before this.
    pub fn pc_destroy_event_channel(channel: *mut rdma_event_channel);
    /// Creates an id whose events go to `channel`. -1+errno.
    pub fn pc_create_id(
        channel: *mut rdma_event_channel,
        id: *mut *mut rdma_cm_id,
        context: *mut std::ffi::c_void,
        ps: rdma_port_space,
    ) -> std::ffi::c_int;
    /// Blocks until the id's events are acknowledged; its queue pair must be destroyed before. -1+errno.
    pub fn pc_destroy_id(id: *mut rdma_cm_id) -> std::ffi::c_int;
    /// Moves the id to another channel; blocks until its events on the old one are acknowledged. -1+errno.
    pub fn pc_migrate_id(id: *mut rdma_cm_id, channel: *mut rdma_event_channel) -> std::ffi::c_int;
    /// Sets an option of an id (`RDMA_OPTION_ID`, `RDMA_OPTION_ID_*`). -1+errno.
    pub fn pc_set_option(
        id: *mut rdma_cm_id,
        level: std::ffi::c_int,
        optname: std::ffi::c_int,
        optval: *const std::ffi::c_void,
        optlen: usize,
    ) -> std::ffi::c_int;
    /// Device the id is bound to, or NULL.
    pub fn pc_id_verbs(id: *const rdma_cm_id) -> *mut ibv_context;
    /// Channel that the id's events go to.
    pub fn pc_id_channel(id: *const rdma_cm_id) -> *mut rdma_event_channel;
    /// Caller's context. A new id in a connect request starts with its listener's.
    pub fn pc_id_context(id: *const rdma_cm_id) -> *mut std::ffi::c_void;
    /// Replaces the caller's context. Not synchronised.
    pub fn pc_id_set_context(id: *mut rdma_cm_id, context: *mut std::ffi::c_void);
    /// Queue pair made by `pc_rdma_create_qp`, or NULL.
    pub fn pc_id_qp(id: *const rdma_cm_id) -> *mut ibv_qp;
    /// Port space.
    pub fn pc_id_ps(id: *const rdma_cm_id) -> rdma_port_space;
    /// Port of the device, from 1; 0 while the id is not bound to one.
    pub fn pc_id_port_num(id: *const rdma_cm_id) -> u8;
    /// Local address; at most `sizeof(struct sockaddr_storage)` bytes, by `sa_family`. Lives as long as the id.
    pub fn pc_get_local_addr(id: *mut rdma_cm_id) -> *mut sockaddr;
    /// Peer's address; at most `sizeof(struct sockaddr_storage)` bytes, by `sa_family`. Lives as long as the id.
    pub fn pc_get_peer_addr(id: *mut rdma_cm_id) -> *mut sockaddr;
    /// Local port, in network byte order; 0 when the family has none.
    pub fn pc_get_src_port(id: *mut rdma_cm_id) -> u16;
    /// Peer's port, in network byte order; 0 when the family has none.
    pub fn pc_get_dst_port(id: *mut rdma_cm_id) -> u16;
    /// GIDs and P_Key of the path, as resolved for this id.
    pub fn pc_id_ib_addr(id: *const rdma_cm_id, addr: *mut rdma_ib_addr);
    /// Binds to a local `sockaddr_in`, `sockaddr_in6` or `sockaddr_ib`. -1+errno.
    pub fn pc_bind_addr(id: *mut rdma_cm_id, addr: *const sockaddr) -> std::ffi::c_int;
    /// Listens on the bound address; requests arrive as `RDMA_CM_EVENT_CONNECT_REQUEST`. -1+errno.
    pub fn pc_listen(id: *mut rdma_cm_id, backlog: std::ffi::c_int) -> std::ffi::c_int;
    /// Starts address resolution; `src` may be NULL. -1+errno.
    pub fn pc_resolve_addr(
        id: *mut rdma_cm_id,
        src: *const sockaddr,
        dst: *const sockaddr,
        timeout_ms: std::ffi::c_int,
    ) -> std::ffi::c_int;
    /// Starts route resolution. -1+errno.
    pub fn pc_resolve_route(id: *mut rdma_cm_id, timeout_ms: std::ffi::c_int) -> std::ffi::c_int;
    /// Creates the id's queue pair, which librdmacm then takes through its states. -1+errno.
    pub fn pc_rdma_create_qp(
        id: *mut rdma_cm_id,
        pd: *mut ibv_pd,
        attr: *mut ibv_qp_init_attr,
    ) -> std::ffi::c_int;
    /// Destroys the id's queue pair. Must not be called when there is none.
    pub fn pc_rdma_destroy_qp(id: *mut rdma_cm_id);
    /// Sends a connect request. -1+errno.
    pub fn pc_connect(id: *mut rdma_cm_id, param: *mut rdma_conn_param) -> std::ffi::c_int;
    /// Accepts a connect request. -1+errno.
    pub fn pc_accept(id: *mut rdma_cm_id, param: *mut rdma_conn_param) -> std::ffi::c_int;
    /// Rejects a connect request with private data, which may be NULL when the length is 0. -1+errno.
    pub fn pc_reject(
        id: *mut rdma_cm_id,
        private_data: *const std::ffi::c_void,
        private_data_len: u8,
    ) -> std::ffi::c_int;
    /// Takes the queue pair to the error state and tells the peer. -1+errno.
    pub fn pc_disconnect(id: *mut rdma_cm_id) -> std::ffi::c_int;
    /// Tells the CM of `IBV_EVENT_COMM_EST`, for a receive that overtook the peer's ready-to-use message. -1+errno.
    pub fn pc_notify(id: *mut rdma_cm_id, event: ibv_event_type) -> std::ffi::c_int;
    /** Next CM event. Blocks unless the channel's descriptor is non-blocking (then EAGAIN).
    -1+errno. Each event must be acknowledged with `pc_ack_cm_event`, or destroying its id blocks for ever.*/
    pub fn pc_get_cm_event(
        channel: *mut rdma_event_channel,
        event: *mut *mut rdma_cm_event,
    ) -> std::ffi::c_int;
    /// Acknowledges and frees an event, its private data included. -1+errno.
    pub fn pc_ack_cm_event(event: *mut rdma_cm_event) -> std::ffi::c_int;
    /// Static text for an event type, also for unknown ones.
    pub fn pc_event_str(event: rdma_cm_event_type) -> *const std::ffi::c_char;
    /// The table of facts, in the order of the Rust side's; writes its length to `len`.
    pub fn pc_layout_table(len: *mut usize) -> *const pc_layout_entry;
}
