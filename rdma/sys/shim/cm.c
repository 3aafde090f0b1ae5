/*
 * librdmacm: ids, connections and events. Conventions and docs: shim.h.
 *
 * Some librdmacm calls take addresses and option values that they only read through non-const pointers; the shim takes
 * them const, and casts here.
 */
#include "shim.h"

struct ibv_context **pc_rdma_get_devices(int *num_devices)
{
	return rdma_get_devices(num_devices);
}

void pc_rdma_free_devices(struct ibv_context **list)
{
	rdma_free_devices(list);
}

struct rdma_event_channel *pc_create_event_channel(void)
{
	return rdma_create_event_channel();
}

void pc_destroy_event_channel(struct rdma_event_channel *channel)
{
	rdma_destroy_event_channel(channel);
}

int pc_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context, enum rdma_port_space ps)
{
	return rdma_create_id(channel, id, context, ps);
}

int pc_destroy_id(struct rdma_cm_id *id)
{
	return rdma_destroy_id(id);
}

int pc_migrate_id(struct rdma_cm_id *id, struct rdma_event_channel *channel)
{
	return rdma_migrate_id(id, channel);
}

int pc_set_option(struct rdma_cm_id *id, int level, int optname, const void *optval, size_t optlen)
{
	return rdma_set_option(id, level, optname, (void *)optval, optlen);
}

struct ibv_context *pc_id_verbs(const struct rdma_cm_id *id)
{
	return id->verbs;
}

struct rdma_event_channel *pc_id_channel(const struct rdma_cm_id *id)
{
	return id->channel;
}

void *pc_id_context(const struct rdma_cm_id *id)
{
	return id->context;
}

void pc_id_set_context(struct rdma_cm_id *id, void *context)
{
	id->context = context;
}

struct ibv_qp *pc_id_qp(const struct rdma_cm_id *id)
{
	return id->qp;
}

enum rdma_port_space pc_id_ps(const struct rdma_cm_id *id)
{
	return id->ps;
}

uint8_t pc_id_port_num(const struct rdma_cm_id *id)
{
	return id->port_num;
}

struct sockaddr *pc_get_local_addr(struct rdma_cm_id *id)
{
	return rdma_get_local_addr(id);
}

struct sockaddr *pc_get_peer_addr(struct rdma_cm_id *id)
{
	return rdma_get_peer_addr(id);
}

uint16_t pc_get_src_port(struct rdma_cm_id *id)
{
	return rdma_get_src_port(id);
}

uint16_t pc_get_dst_port(struct rdma_cm_id *id)
{
	return rdma_get_dst_port(id);
}

void pc_id_ib_addr(const struct rdma_cm_id *id, struct rdma_ib_addr *addr)
{
	*addr = id->route.addr.addr.ibaddr;
}

int pc_bind_addr(struct rdma_cm_id *id, const struct sockaddr *addr)
{
	return rdma_bind_addr(id, (struct sockaddr *)addr);
}

int pc_listen(struct rdma_cm_id *id, int backlog)
{
	return rdma_listen(id, backlog);
}

int pc_resolve_addr(struct rdma_cm_id *id, const struct sockaddr *src, const struct sockaddr *dst, int timeout_ms)
{
	return rdma_resolve_addr(id, (struct sockaddr *)src, (struct sockaddr *)dst, timeout_ms);
}

int pc_resolve_route(struct rdma_cm_id *id, int timeout_ms)
{
	return rdma_resolve_route(id, timeout_ms);
}

int pc_rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	return rdma_create_qp(id, pd, attr);
}

void pc_rdma_destroy_qp(struct rdma_cm_id *id)
{
	rdma_destroy_qp(id);
}

int pc_connect(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	return rdma_connect(id, param);
}

int pc_accept(struct rdma_cm_id *id, struct rdma_conn_param *param)
{
	return rdma_accept(id, param);
}

int pc_reject(struct rdma_cm_id *id, const void *private_data, uint8_t private_data_len)
{
	return rdma_reject(id, private_data, private_data_len);
}

int pc_disconnect(struct rdma_cm_id *id)
{
	return rdma_disconnect(id);
}

int pc_notify(struct rdma_cm_id *id, enum ibv_event_type event)
{
	return rdma_notify(id, event);
}

int pc_get_cm_event(struct rdma_event_channel *channel, struct rdma_cm_event **event)
{
	return rdma_get_cm_event(channel, event);
}

int pc_ack_cm_event(struct rdma_cm_event *event)
{
	return rdma_ack_cm_event(event);
}

const char *pc_event_str(enum rdma_cm_event_type event)
{
	return rdma_event_str(event);
}
