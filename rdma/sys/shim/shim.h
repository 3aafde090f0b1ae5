/*
 * The whole C surface that Rust calls. Each function is compiled against the installed rdma-core headers, so a call
 * means what a C program built on this machine would mean by it: rdma-core moves behaviour with macros and inlines
 * (ibv_reg_mr, ibv_query_port, ibv_query_device_ex), and binding the plain symbols would freeze the old meaning.
 *
 * The doc comments here become the Rust docs (see regenerate/). Each states one of these conventions:
 *   NULL+errno    a pointer, or NULL with errno set
 *   -1+errno      0, or -1 with errno set
 *   errno value   0, or a positive errno value; errno itself is not meaningful
 */
#ifndef PAGECAST_RDMA_SHIM_H
#define PAGECAST_RDMA_SHIM_H

#include <stdint.h>
#include <stddef.h>
#include <sys/socket.h>
#include <netinet/in.h>

#include <infiniband/verbs.h>
#include <infiniband/ib.h>
#include <rdma/rdma_cma.h>

/**
 * What pagecast asks of a device. The shim's own layout, because `struct ibv_device_attr_ex` grows with rdma-core.
 */
struct pc_device_attr {
	/** Firmware version, NUL-terminated. */
	char fw_ver[64];
	/** Node GUID in wire (big-endian) order. */
	uint8_t node_guid[8];
	/** System image GUID in wire (big-endian) order. */
	uint8_t sys_image_guid[8];
	/** Largest region that can be registered, in bytes. */
	uint64_t max_mr_size;
	/** Bit n set: pages of 2^n bytes are supported. */
	uint64_t page_size_cap;
	/** `IBV_DEVICE_*` flags; the upper half is 0 when the provider knows only the legacy query. */
	uint64_t device_cap_flags;
	/** On-demand paging: `ibv_odp_general_caps` bits. 0 when unsupported or unknown. */
	uint64_t odp_general_caps;
	/** On-demand paging on RC queue pairs: `ibv_odp_transport_cap_bits`. */
	uint32_t odp_rc_caps;
	/** Vendor id (IEEE OUI). */
	uint32_t vendor_id;
	/** Vendor's part id. */
	uint32_t vendor_part_id;
	/** Hardware version. */
	uint32_t hw_ver;
	/** Queue pairs. */
	int32_t max_qp;
	/** Work requests on any one queue. */
	int32_t max_qp_wr;
	/** Scatter/gather entries per work request. */
	int32_t max_sge;
	/** Scatter/gather entries per RDMA READ work request. */
	int32_t max_sge_rd;
	/** Completion queues. */
	int32_t max_cq;
	/** Entries per completion queue. */
	int32_t max_cqe;
	/** Memory regions. */
	int32_t max_mr;
	/** Protection domains. */
	int32_t max_pd;
	/** Inbound RDMA READs and atomics outstanding per queue pair (responder resources). */
	int32_t max_qp_rd_atom;
	/** Inbound RDMA READs and atomics outstanding on the whole device. */
	int32_t max_res_rd_atom;
	/** Outbound RDMA READs and atomics outstanding per queue pair (initiator depth). */
	int32_t max_qp_init_rd_atom;
	/** Shared receive queues. */
	int32_t max_srq;
	/** Work requests per shared receive queue. */
	int32_t max_srq_wr;
	/** Scatter/gather entries per shared receive queue work request. */
	int32_t max_srq_sge;
	/** P_Keys per partition table. */
	uint32_t max_pkeys;
	/** Physical ports; ports are numbered from 1. */
	uint32_t phys_port_cnt;
};

/**
 * What pagecast asks of a port. The shim's own layout, because `struct ibv_port_attr` grows with rdma-core.
 */
struct pc_port_attr {
	/** Logical state. */
	enum ibv_port_state state;
	/** Largest MTU the port supports. */
	enum ibv_mtu max_mtu;
	/** MTU in use. */
	enum ibv_mtu active_mtu;
	/** Entries in the GID table. */
	uint32_t gid_tbl_len;
	/** `IBV_PORT_*` capability flags. */
	uint32_t port_cap_flags;
	/** Largest message, in bytes. */
	uint32_t max_msg_sz;
	/** Entries in the P_Key table. */
	uint16_t pkey_tbl_len;
	/** Base local id; 0 on Ethernet. */
	uint16_t lid;
	/** Local id of the subnet manager. */
	uint16_t sm_lid;
	/** Local id mask count. */
	uint8_t lmc;
	/** Service level of the subnet manager. */
	uint8_t sm_sl;
	/** Width encoding (IBTA PortInfo:LinkWidthActive). */
	uint8_t active_width;
	/** Speed encoding (IBTA PortInfo:LinkSpeedActive). */
	uint8_t active_speed;
	/** Physical state encoding (IBTA PortInfo:PortPhysicalState). */
	uint8_t phys_state;
	/** One of `IBV_LINK_LAYER_*`. */
	uint8_t link_layer;
};

/* Devices and ports. */

/** All RDMA devices, as a NULL-terminated array. `num_devices` may be NULL. NULL+errno; free with `pc_free_device_list`. */
struct ibv_device **pc_get_device_list(int *num_devices);
/** Frees the array. Devices that were not opened must not be used afterwards. */
void pc_free_device_list(struct ibv_device **list);
/** Kernel name, such as `mlx5_0`. Lives as long as the device. */
const char *pc_get_device_name(struct ibv_device *device);
/** Node GUID in wire (big-endian) order. Writes 8 bytes to `guid`. */
void pc_get_device_guid(struct ibv_device *device, uint8_t guid[8]);
/** `ibv_node_type` of the device. */
enum ibv_node_type pc_device_node_type(const struct ibv_device *device);
/** Opens a device. NULL+errno; close with `pc_close_device`. */
struct ibv_context *pc_open_device(struct ibv_device *device);
/** Closes a device opened by `pc_open_device`, and nothing else: librdmacm owns its own contexts. -1+errno. */
int pc_close_device(struct ibv_context *context);
/** The device that a context is open on. */
struct ibv_device *pc_context_device(const struct ibv_context *context);
/** Descriptor that becomes readable when `pc_get_async_event` has an event. Owned by the context. */
int pc_context_async_fd(const struct ibv_context *context);
/** Descriptor of the uverbs device. Owned by the context. */
int pc_context_cmd_fd(const struct ibv_context *context);
/** Completion vectors: `comp_vector` of `pc_create_cq` must be below this. */
int pc_context_num_comp_vectors(const struct ibv_context *context);
/** Device attributes, on-demand paging capabilities included. errno value. */
int pc_query_device(struct ibv_context *context, struct pc_device_attr *attr);
/** Port attributes; ports are numbered from 1. errno value. */
int pc_query_port(struct ibv_context *context, uint8_t port_num, struct pc_port_attr *attr);
/** One entry of a port's GID table. Returns 0, or -1; errno is not always set. */
int pc_query_gid(struct ibv_context *context, uint8_t port_num, int index, union ibv_gid *gid);
/** One entry of a port's P_Key table, in network byte order. Returns 0, or -1; errno is not always set. */
int pc_query_pkey(struct ibv_context *context, uint8_t port_num, int index, uint16_t *pkey_be);

/* Protection domains and memory regions. */

/** Allocates a protection domain. NULL+errno. */
struct ibv_pd *pc_alloc_pd(struct ibv_context *context);
/** Frees a protection domain. errno value; EBUSY while anything made from it lives. */
int pc_dealloc_pd(struct ibv_pd *pd);
/** Registers memory. `access` is a set of `ibv_access_flags`. NULL+errno. */
struct ibv_mr *pc_reg_mr(struct ibv_pd *pd, void *addr, size_t length, unsigned int access);
/** Deregisters memory and frees `mr`. errno value. */
int pc_dereg_mr(struct ibv_mr *mr);
/**
 * Prefetch advice on ranges of on-demand regions; `flags` is a set of `ib_uverbs_advise_mr_flag`.
 * errno value; EOPNOTSUPP when the provider has no such call.
 */
int pc_advise_mr(struct ibv_pd *pd, enum ib_uverbs_advise_mr_advice advice, uint32_t flags, struct ibv_sge *sg_list,
		 uint32_t num_sge);

/* Completion channels and queues. */

/** Creates a channel for completion events, with a descriptor of its own. NULL+errno. */
struct ibv_comp_channel *pc_create_comp_channel(struct ibv_context *context);
/** Destroys a channel. errno value; EBUSY while a completion queue uses it. */
int pc_destroy_comp_channel(struct ibv_comp_channel *channel);
/**
 * Next completion event. Blocks unless the channel's descriptor is non-blocking (then EAGAIN).
 * -1+errno. Each event must be acknowledged with `pc_ack_cq_events`, or destroying the queue blocks for ever.
 */
int pc_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context);
/** Acknowledges `nevents` completion events. Takes a lock: batch the calls. */
void pc_ack_cq_events(struct ibv_cq *cq, unsigned int nevents);
/** Creates a completion queue; `channel` may be NULL when it is only polled. NULL+errno. */
struct ibv_cq *pc_create_cq(struct ibv_context *context, int cqe, void *cq_context, struct ibv_comp_channel *channel,
			    int comp_vector);
/** Blocks until the queue's events are acknowledged. errno value; EBUSY while a queue pair uses the queue. */
int pc_destroy_cq(struct ibv_cq *cq);
/** Entries the queue really has, at least what was asked for. */
int pc_cq_cqe(const struct ibv_cq *cq);
/** Number of completions written to `wc`, or a negative value that is not an errno. */
int pc_poll_cq(struct ibv_cq *cq, int num_entries, struct ibv_wc *wc);
/** Arms one event for the next completion, or for the next solicited one. errno value. */
int pc_req_notify_cq(struct ibv_cq *cq, int solicited_only);
/** Static text for a completion status, also for unknown ones. */
const char *pc_wc_status_str(enum ibv_wc_status status);

/* Queue pairs. */

/** Creates a queue pair; `attr.cap` is updated to what was allocated. NULL+errno. */
struct ibv_qp *pc_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
/** Blocks until the pair's asynchronous events are acknowledged. errno value. */
int pc_destroy_qp(struct ibv_qp *qp);
/** Changes the attributes in `attr_mask`, a set of `ibv_qp_attr_mask`. errno value. */
int pc_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask);
/** Reads the attributes in `attr_mask`, a set of `ibv_qp_attr_mask`; more than asked for may be filled in. errno value. */
int pc_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask, struct ibv_qp_init_attr *init_attr);
/** Queue pair number, 24 bits. */
uint32_t pc_qp_num(const struct ibv_qp *qp);
/** `qp_context` given at creation. */
void *pc_qp_context(const struct ibv_qp *qp);
/** Posts a list of sends. errno value; `bad_wr` is then the first request that was not posted. */
int pc_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad_wr);
/** Posts a list of receives. errno value; `bad_wr` is then the first request that was not posted. */
int pc_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad_wr);

/* Shared receive queues. */

/** Creates a shared receive queue; `attr.attr` is updated to what was allocated. NULL+errno. */
struct ibv_srq *pc_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr);
/** Changes the attributes in `attr_mask`, a set of `ibv_srq_attr_mask`; arms the limit event with `IBV_SRQ_LIMIT`. errno value. */
int pc_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int attr_mask);
/** Blocks until the queue's asynchronous events are acknowledged. errno value; EBUSY while a queue pair uses it. */
int pc_destroy_srq(struct ibv_srq *srq);
/** `srq_context` given at creation. */
void *pc_srq_context(const struct ibv_srq *srq);
/** Posts a list of receives. errno value; `bad_wr` is then the first request that was not posted. */
int pc_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad_wr);

/* Asynchronous events. */

/**
 * Next asynchronous event. Blocks unless the context's async descriptor is non-blocking (then EAGAIN).
 * -1+errno. Each event must be acknowledged with `pc_ack_async_event`, or destroying its object blocks for ever.
 */
int pc_get_async_event(struct ibv_context *context, struct ibv_async_event *event);
/** Acknowledges an event from `pc_get_async_event`. */
void pc_ack_async_event(struct ibv_async_event *event);
/** Static text for an event type, also for unknown ones. */
const char *pc_event_type_str(enum ibv_event_type event);

/* Connection manager: devices, channels and ids. */

/**
 * Contexts of all RDMA devices, opened by librdmacm and open until the process ends; NULL-terminated.
 * `num_devices` may be NULL. NULL+errno; free the array with `pc_rdma_free_devices`.
 */
struct ibv_context **pc_rdma_get_devices(int *num_devices);
/** Frees the array, not the contexts. */
void pc_rdma_free_devices(struct ibv_context **list);
/** Creates a channel for CM events, with a descriptor of its own. NULL+errno. */
struct rdma_event_channel *pc_create_event_channel(void);
/** Destroys a channel. Every id of it must be destroyed, and every event acknowledged, before this. */
void pc_destroy_event_channel(struct rdma_event_channel *channel);
/** Creates an id whose events go to `channel`. -1+errno. */
int pc_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context, enum rdma_port_space ps);
/** Blocks until the id's events are acknowledged; its queue pair must be destroyed before. -1+errno. */
int pc_destroy_id(struct rdma_cm_id *id);
/** Moves the id to another channel; blocks until its events on the old one are acknowledged. -1+errno. */
int pc_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *channel);
/** Sets an option of an id (`RDMA_OPTION_ID`, `RDMA_OPTION_ID_*`). -1+errno. */
int pc_set_option(struct rdma_cm_id *id, int level, int optname, const void *optval, size_t optlen);

/* Connection manager: fields of an id. */

/** Device the id is bound to, or NULL. */
struct ibv_context *pc_id_verbs(const struct rdma_cm_id *id);
/** Channel that the id's events go to. */
struct rdma_event_channel *pc_id_channel(const struct rdma_cm_id *id);
/** Caller's context. A new id in a connect request starts with its listener's. */
void *pc_id_context(const struct rdma_cm_id *id);
/** Replaces the caller's context. Not synchronised. */
void pc_id_set_context(struct rdma_cm_id *id, void *context);
/** Queue pair made by `pc_rdma_create_qp`, or NULL. */
struct ibv_qp *pc_id_qp(const struct rdma_cm_id *id);
/** Port space. */
enum rdma_port_space pc_id_ps(const struct rdma_cm_id *id);
/** Port of the device, from 1; 0 while the id is not bound to one. */
uint8_t pc_id_port_num(const struct rdma_cm_id *id);
/** Local address; at most `sizeof(struct sockaddr_storage)` bytes, by `sa_family`. Lives as long as the id. */
struct sockaddr *pc_get_local_addr(struct rdma_cm_id *id);
/** Peer's address; at most `sizeof(struct sockaddr_storage)` bytes, by `sa_family`. Lives as long as the id. */
struct sockaddr *pc_get_peer_addr(struct rdma_cm_id *id);
/** Local port, in network byte order; 0 when the family has none. */
uint16_t pc_get_src_port(struct rdma_cm_id *id);
/** Peer's port, in network byte order; 0 when the family has none. */
uint16_t pc_get_dst_port(struct rdma_cm_id *id);
/** GIDs and P_Key of the path, as resolved for this id. */
void pc_id_ib_addr(const struct rdma_cm_id *id, struct rdma_ib_addr *addr);

/* Connection manager: connections. */

/** Binds to a local `sockaddr_in`, `sockaddr_in6` or `sockaddr_ib`. -1+errno. */
int pc_bind_addr(struct rdma_cm_id *id, const struct sockaddr *addr);
/** Listens on the bound address; requests arrive as `RDMA_CM_EVENT_CONNECT_REQUEST`. -1+errno. */
int pc_listen(struct rdma_cm_id *id, int backlog);
/** Starts address resolution; `src` may be NULL. -1+errno. */
int pc_resolve_addr(struct rdma_cm_id *id, const struct sockaddr *src, const struct sockaddr *dst, int timeout_ms);
/** Starts route resolution. -1+errno. */
int pc_resolve_route(struct rdma_cm_id *id, int timeout_ms);
/** Creates the id's queue pair, which librdmacm then takes through its states. -1+errno. */
int pc_rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
/** Destroys the id's queue pair. Must not be called when there is none. */
void pc_rdma_destroy_qp(struct rdma_cm_id *id);
/** Sends a connect request. -1+errno. */
int pc_connect(struct rdma_cm_id *id, struct rdma_conn_param *param);
/** Accepts a connect request. -1+errno. */
int pc_accept(struct rdma_cm_id *id, struct rdma_conn_param *param);
/** Rejects a connect request with private data, which may be NULL when the length is 0. -1+errno. */
int pc_reject(struct rdma_cm_id *id, const void *private_data, uint8_t private_data_len);
/** Takes the queue pair to the error state and tells the peer. -1+errno. */
int pc_disconnect(struct rdma_cm_id *id);
/** Tells the CM of `IBV_EVENT_COMM_EST`, for a receive that overtook the peer's ready-to-use message. -1+errno. */
int pc_notify(struct rdma_cm_id *id, enum ibv_event_type event);

/* Connection manager: events. */

/**
 * Next CM event. Blocks unless the channel's descriptor is non-blocking (then EAGAIN).
 * -1+errno. Each event must be acknowledged with `pc_ack_cm_event`, or destroying its id blocks for ever.
 */
int pc_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event);
/** Acknowledges and frees an event, its private data included. -1+errno. */
int pc_ack_cm_event(struct rdma_cm_event *event);
/** Static text for an event type, also for unknown ones. */
const char *pc_event_str(enum rdma_cm_event_type event);

/* The header check. */

/** One fact about the installed headers: a size, an alignment, an offset or a constant. */
struct pc_layout_entry {
	/** What was measured, such as `offsetof ibv_wc.qp_num`. */
	const char *name;
	/** The measurement. */
	int64_t value;
};

/** The table of facts, in the order of the Rust side's; writes its length to `len`. */
const struct pc_layout_entry *pc_layout_table(size_t *len);

#endif
