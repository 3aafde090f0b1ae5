//! NVMe hosts: connection requests of queues, and Connect, which makes controllers (NVMe base 2.0 section 6.3).

use pagecast_core::nvme::{Completion, Status};
use pagecast_rdma::fabric::ConnectRequest;

use super::Control;
use super::listeners::Portal;
use crate::nvme::auth::Exchange;
use crate::nvme::cm::Reject;
use crate::shard::entropy::entropy;
use crate::shard::messages::{ConnectionKey, NvmeConnect, ShardMessage};

impl Control {
    /// Accepts a queue's connection request. Connect comes after that.
    pub(super) fn open_nvme(
        &mut self,
        _request: &ConnectRequest,
        _portal: &Portal,
    ) -> Result<(), Reject> {
        Err(Reject::NoResources)
    }

    /// A shard asks whether a host may connect.
    pub(super) fn nvme_connect(&mut self, key: ConnectionKey, _connect: &NvmeConnect) {
        let refused = Completion::from(Status::CONNECT_INVALID_HOST);
        self.tell(key, ShardMessage::Connected(key, Err(refused)));
    }

    /// Looks at a message of a host that authenticates.
    pub(super) fn authenticate(
        &mut self,
        key: ConnectionKey,
        mut exchange: Box<Exchange>,
        message: &[u8],
    ) {
        let completion = match exchange.receive(message, &mut entropy) {
            Ok(()) => Completion::SUCCESS,
            Err(status) => status.into(),
        };
        self.tell(key, ShardMessage::Authenticated(key, exchange, completion));
    }

    /// A host has reset its controller: its I/O queues go.
    pub(super) fn controller_reset(&mut self, _key: ConnectionKey) {}
}
