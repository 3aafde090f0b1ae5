/* libibverbs: devices, memory, queues and asynchronous events. Conventions and docs: shim.h. */
#include "shim.h"

#include <string.h>

struct ibv_device **pc_get_device_list(int *num_devices)
{
	return ibv_get_device_list(num_devices);
}

void pc_free_device_list(struct ibv_device **list)
{
	ibv_free_device_list(list);
}

const char *pc_get_device_name(struct ibv_device *device)
{
	return ibv_get_device_name(device);
}

void pc_get_device_guid(struct ibv_device *device, uint8_t guid[8])
{
	__be64 value = ibv_get_device_guid(device);

	memcpy(guid, &value, sizeof(value));
}

enum ibv_node_type pc_device_node_type(const struct ibv_device *device)
{
	return device->node_type;
}

struct ibv_context *pc_open_device(struct ibv_device *device)
{
	return ibv_open_device(device);
}

int pc_close_device(struct ibv_context *context)
{
	return ibv_close_device(context);
}

struct ibv_device *pc_context_device(const struct ibv_context *context)
{
	return context->device;
}

int pc_context_async_fd(const struct ibv_context *context)
{
	return context->async_fd;
}

int pc_context_cmd_fd(const struct ibv_context *context)
{
	return context->cmd_fd;
}

int pc_context_num_comp_vectors(const struct ibv_context *context)
{
	return context->num_comp_vectors;
}

int pc_query_device(struct ibv_context *context, struct pc_device_attr *attr)
{
	struct ibv_device_attr_ex ex;
	const struct ibv_device_attr *orig = &ex.orig_attr;
	int ret;

	/*
	 * Where the provider has no extended query, ibv_query_device_ex answers from the legacy one; the extended fields are
	 * then 0, which reads as "no on-demand paging".
	 */
	memset(&ex, 0, sizeof(ex));
	memset(attr, 0, sizeof(*attr));
	ret = ibv_query_device_ex(context, NULL, &ex);
	if (ret)
		return ret;

	memcpy(attr->fw_ver, orig->fw_ver, sizeof(attr->fw_ver));
	attr->fw_ver[sizeof(attr->fw_ver) - 1] = '\0';
	memcpy(attr->node_guid, &orig->node_guid, sizeof(attr->node_guid));
	memcpy(attr->sys_image_guid, &orig->sys_image_guid, sizeof(attr->sys_image_guid));
	attr->max_mr_size = orig->max_mr_size;
	attr->page_size_cap = orig->page_size_cap;
	attr->device_cap_flags = ex.device_cap_flags_ex | orig->device_cap_flags;
	attr->odp_general_caps = ex.odp_caps.general_caps;
	attr->odp_rc_caps = ex.odp_caps.per_transport_caps.rc_odp_caps;
	attr->vendor_id = orig->vendor_id;
	attr->vendor_part_id = orig->vendor_part_id;
	attr->hw_ver = orig->hw_ver;
	attr->max_qp = orig->max_qp;
	attr->max_qp_wr = orig->max_qp_wr;
	attr->max_sge = orig->max_sge;
	attr->max_sge_rd = orig->max_sge_rd;
	attr->max_cq = orig->max_cq;
	attr->max_cqe = orig->max_cqe;
	attr->max_mr = orig->max_mr;
	attr->max_pd = orig->max_pd;
	attr->max_qp_rd_atom = orig->max_qp_rd_atom;
	attr->max_res_rd_atom = orig->max_res_rd_atom;
	attr->max_qp_init_rd_atom = orig->max_qp_init_rd_atom;
	attr->max_srq = orig->max_srq;
	attr->max_srq_wr = orig->max_srq_wr;
	attr->max_srq_sge = orig->max_srq_sge;
	attr->max_pkeys = orig->max_pkeys;
	attr->phys_port_cnt = ex.phys_port_cnt_ex ? ex.phys_port_cnt_ex : orig->phys_port_cnt;
	return 0;
}

int pc_query_port(struct ibv_context *context, uint8_t port_num, struct pc_port_attr *attr)
{
	struct ibv_port_attr port;
	int ret;

	memset(&port, 0, sizeof(port));
	memset(attr, 0, sizeof(*attr));
	ret = ibv_query_port(context, port_num, &port);
	if (ret)
		return ret;

	attr->state = port.state;
	attr->max_mtu = port.max_mtu;
	attr->active_mtu = port.active_mtu;
	attr->gid_tbl_len = port.gid_tbl_len < 0 ? 0 : (uint32_t)port.gid_tbl_len;
	attr->port_cap_flags = port.port_cap_flags;
	attr->max_msg_sz = port.max_msg_sz;
	attr->pkey_tbl_len = port.pkey_tbl_len;
	attr->lid = port.lid;
	attr->sm_lid = port.sm_lid;
	attr->lmc = port.lmc;
	attr->sm_sl = port.sm_sl;
	attr->active_width = port.active_width;
	attr->active_speed = port.active_speed;
	attr->phys_state = port.phys_state;
	attr->link_layer = port.link_layer;
	return 0;
}

int pc_query_gid(struct ibv_context *context, uint8_t port_num, int index, union ibv_gid *gid)
{
	return ibv_query_gid(context, port_num, index, gid);
}

int pc_query_pkey(struct ibv_context *context, uint8_t port_num, int index, uint16_t *pkey_be)
{
	return ibv_query_pkey(context, port_num, index, pkey_be);
}

struct ibv_pd *pc_alloc_pd(struct ibv_context *context)
{
	return ibv_alloc_pd(context);
}

int pc_dealloc_pd(struct ibv_pd *pd)
{
	return ibv_dealloc_pd(pd);
}

struct ibv_mr *pc_reg_mr(struct ibv_pd *pd, void *addr, size_t length, unsigned int access)
{
	return ibv_reg_mr(pd, addr, length, access);
}

int pc_dereg_mr(struct ibv_mr *mr)
{
	return ibv_dereg_mr(mr);
}

int pc_advise_mr(struct ibv_pd *pd, enum ib_uverbs_advise_mr_advice advice, uint32_t flags, struct ibv_sge *sg_list,
		 uint32_t num_sge)
{
	return ibv_advise_mr(pd, advice, flags, sg_list, num_sge);
}

struct ibv_comp_channel *pc_create_comp_channel(struct ibv_context *context)
{
	return ibv_create_comp_channel(context);
}

int pc_destroy_comp_channel(struct ibv_comp_channel *channel)
{
	return ibv_destroy_comp_channel(channel);
}

int pc_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context)
{
	return ibv_get_cq_event(channel, cq, cq_context);
}

void pc_ack_cq_events(struct ibv_cq *cq, unsigned int nevents)
{
	ibv_ack_cq_events(cq, nevents);
}

struct ibv_cq *pc_create_cq(struct ibv_context *context, int cqe, void *cq_context, struct ibv_comp_channel *channel,
			    int comp_vector)
{
	return ibv_create_cq(context, cqe, cq_context, channel, comp_vector);
}

int pc_destroy_cq(struct ibv_cq *cq)
{
	return ibv_destroy_cq(cq);
}

int pc_cq_cqe(const struct ibv_cq *cq)
{
	return cq->cqe;
}

int pc_poll_cq(struct ibv_cq *cq, int num_entries, struct ibv_wc *wc)
{
	return ibv_poll_cq(cq, num_entries, wc);
}

int pc_req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	return ibv_req_notify_cq(cq, solicited_only);
}

const char *pc_wc_status_str(enum ibv_wc_status status)
{
	return ibv_wc_status_str(status);
}

struct ibv_qp *pc_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	return ibv_create_qp(pd, attr);
}

int pc_destroy_qp(struct ibv_qp *qp)
{
	return ibv_destroy_qp(qp);
}

int pc_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask)
{
	return ibv_modify_qp(qp, attr, attr_mask);
}

int pc_query_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int attr_mask, struct ibv_qp_init_attr *init_attr)
{
	return ibv_query_qp(qp, attr, attr_mask, init_attr);
}

uint32_t pc_qp_num(const struct ibv_qp *qp)
{
	return qp->qp_num;
}

void *pc_qp_context(const struct ibv_qp *qp)
{
	return qp->qp_context;
}

int pc_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad_wr)
{
	return ibv_post_send(qp, wr, bad_wr);
}

int pc_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad_wr)
{
	return ibv_post_recv(qp, wr, bad_wr);
}

struct ibv_srq *pc_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *attr)
{
	return ibv_create_srq(pd, attr);
}

int pc_modify_srq(struct ibv_srq *srq, struct ibv_srq_attr *attr, int attr_mask)
{
	return ibv_modify_srq(srq, attr, attr_mask);
}

int pc_destroy_srq(struct ibv_srq *srq)
{
	return ibv_destroy_srq(srq);
}

void *pc_srq_context(const struct ibv_srq *srq)
{
	return srq->srq_context;
}

int pc_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad_wr)
{
	return ibv_post_srq_recv(srq, wr, bad_wr);
}

int pc_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	return ibv_get_async_event(context, event);
}

void pc_ack_async_event(struct ibv_async_event *event)
{
	ibv_ack_async_event(event);
}

const char *pc_event_type_str(enum ibv_event_type event)
{
	return ibv_event_type_str(event);
}
