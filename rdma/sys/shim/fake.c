/*
 * A provider for tests of the shim: enough of an extended verbs context for the calls that the headers' inlines make
 * through it. Linked into the crate's own tests only.
 */
#include "shim.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static int query_device_ex(struct ibv_context *context, const struct ibv_query_device_ex_input *input,
			   struct ibv_device_attr_ex *attr, size_t attr_size)
{
	(void)context;
	(void)input;
	memset(attr, 0, attr_size);
	/* Not terminated: what a careless provider could leave. */
	memset(attr->orig_attr.fw_ver, 'f', sizeof(attr->orig_attr.fw_ver));
	attr->orig_attr.node_guid = htobe64(0x0102030405060708);
	attr->orig_attr.max_sge = 30;
	attr->orig_attr.max_qp_rd_atom = 16;
	attr->orig_attr.phys_port_cnt = 2;
	attr->orig_attr.device_cap_flags = IBV_DEVICE_MEM_MGT_EXTENSIONS;
	attr->device_cap_flags_ex = IBV_DEVICE_PCI_WRITE_END_PADDING;
	attr->odp_caps.general_caps = IBV_ODP_SUPPORT | IBV_ODP_SUPPORT_IMPLICIT;
	attr->odp_caps.per_transport_caps.rc_odp_caps = IBV_ODP_SUPPORT_WRITE;
	return 0;
}

static int query_port(struct ibv_context *context, uint8_t port_num, struct ibv_port_attr *attr, size_t attr_size)
{
	(void)context;
	if (port_num != 1)
		return EINVAL;
	memset(attr, 0, attr_size);
	attr->state = IBV_PORT_ACTIVE;
	attr->active_mtu = IBV_MTU_4096;
	attr->gid_tbl_len = 256;
	attr->lid = 0x1234;
	attr->link_layer = IBV_LINK_LAYER_INFINIBAND;
	return 0;
}

static int advise_mr(struct ibv_pd *pd, enum ib_uverbs_advise_mr_advice advice, uint32_t flags,
		     struct ibv_sge *sg_list, uint32_t num_sge)
{
	(void)pd;
	return advice == IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE && flags == IBV_ADVISE_MR_FLAG_FLUSH && num_sge == 1 &&
			       sg_list->length == 4096 ? 0 : EINVAL;
}

static struct ibv_wc last;

/* Refuses all but RDMA WRITE and SEND_WITH_INV; what it takes, it gives back as a completion. */
static int post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad_wr)
{
	for (; wr; wr = wr->next) {
		memset(&last, 0, sizeof(last));
		last.wr_id = wr->wr_id;
		last.qp_num = qp->qp_num;
		if (wr->opcode == IBV_WR_RDMA_WRITE) {
			last.opcode = IBV_WC_RDMA_WRITE;
			last.byte_len = wr->sg_list[0].length + wr->sg_list[1].length;
			last.src_qp = wr->wr.rdma.rkey;
		} else if (wr->opcode == IBV_WR_SEND_WITH_INV) {
			last.opcode = IBV_WC_SEND;
			last.wc_flags = IBV_WC_WITH_INV;
			last.invalidated_rkey = wr->invalidate_rkey;
		} else {
			*bad_wr = wr;
			return ENOMEM;
		}
	}
	return 0;
}

static int poll_cq(struct ibv_cq *cq, int num_entries, struct ibv_wc *wc)
{
	(void)cq;
	if (num_entries < 1)
		return -1;
	*wc = last;
	return 1;
}

static struct verbs_context context = {
	.query_port = query_port,
	.advise_mr = advise_mr,
	.query_device_ex = query_device_ex,
	.sz = sizeof(struct verbs_context),
	.context = {
		.ops = { .poll_cq = poll_cq, .post_send = post_send },
		.cmd_fd = 40,
		.async_fd = 41,
		.num_comp_vectors = 8,
		.abi_compat = __VERBS_ABI_IS_EXTENDED,
	},
};
static struct ibv_pd pd = { .context = &context.context };
static struct ibv_cq cq = { .context = &context.context, .cqe = 127 };
static struct ibv_qp qp = { .context = &context.context, .qp_num = 0xabcdef };

struct ibv_context *pc_fake_context(void)
{
	return &context.context;
}

struct ibv_pd *pc_fake_pd(void)
{
	return &pd;
}

struct ibv_cq *pc_fake_cq(void)
{
	return &cq;
}

struct ibv_qp *pc_fake_qp(void)
{
	return &qp;
}
