//! Message buffers for connections to come, registered ahead of time.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender};
use pagecast_rdma::fabric::{Adapter, FabricError};
use pagecast_rdma::slots::Slots;

use crate::shard::connection::MessageBuffers;
use crate::shard::messages::{ControlMessage, Mailer};

/// Sets that an adapter keeps ready.
const SPARE: usize = 4;

/// How the buffers of one connection are cut.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes of a receive slot.
    pub receive_size: usize,
    /// Receive slots.
    pub receives: usize,
    /// Bytes of a send slot.
    pub send_size: usize,
    /// Send slots.
    pub sends: usize,
}

impl Layout {
    /// Next to nothing, for connections that have buffers of their own.
    pub const NONE: Self = Self {
        receive_size: 1,
        receives: 1,
        send_size: 1,
        sends: 1,
    };

    fn allocate(&self, adapter: &dyn Adapter) -> Result<MessageBuffers, FabricError> {
        Ok(MessageBuffers {
            receive: Slots::allocate(adapter, self.receive_size, self.receives)?,
            send: Slots::allocate(adapter, self.send_size, self.sends)?,
        })
    }

    /// Registered bytes of one set.
    pub fn bytes(&self) -> usize {
        self.receive_size * self.receives + self.send_size * self.sends
    }
}

/// The stock of one adapter.
#[derive(Debug)]
pub struct BufferStock {
    adapter: Arc<dyn Adapter>,
    layout: Layout,
    spare: Vec<MessageBuffers>,
    /// Sets that the background thread was asked for.
    ordered: usize,
    /// Sets that exist: here, and with connections.
    sets: usize,
    orders: Option<Sender<Order>>,
}

/// A set to be registered in the background.
#[derive(Debug)]
pub struct Order {
    adapter: Arc<dyn Adapter>,
    layout: Layout,
}

impl BufferStock {
    /// Fills the stock, which is slow. Without `orders` it is never refilled in the background.
    pub fn new(
        adapter: Arc<dyn Adapter>,
        layout: Layout,
        orders: Option<Sender<Order>>,
    ) -> Result<Self, FabricError> {
        let spare = (0..SPARE)
            .map(|_| layout.allocate(&*adapter))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            adapter,
            layout,
            sets: spare.len(),
            spare,
            ordered: 0,
            orders,
        })
    }

    /// Has sets registered in the background from now on.
    pub fn order_from(&mut self, orders: Sender<Order>) {
        self.orders = Some(orders);
    }

    /// A set for a new connection. When many come at once, the stock runs dry, and one is registered while the peer waits.
    pub fn take(&mut self) -> Result<MessageBuffers, FabricError> {
        let set = match self.spare.pop() {
            Some(set) => set,
            None => {
                self.sets += 1;
                self.layout
                    .allocate(&*self.adapter)
                    .inspect_err(|_| self.sets -= 1)?
            }
        };
        if let Some(orders) = &self.orders {
            while self.spare.len() + self.ordered < SPARE {
                let order = Order {
                    adapter: Arc::clone(&self.adapter),
                    layout: self.layout,
                };
                if orders.send(order).is_err() {
                    break;
                }
                self.ordered += 1;
            }
        }
        Ok(set)
    }

    /// A set that was ordered is there.
    pub fn delivered(&mut self, buffers: MessageBuffers) {
        self.ordered = self.ordered.saturating_sub(1);
        self.sets += 1;
        self.spare.push(buffers);
    }

    /// A set that was ordered will not come.
    pub fn failed(&mut self) {
        self.ordered = self.ordered.saturating_sub(1);
    }

    /// A set is not needed any more.
    pub fn give_back(&mut self, buffers: MessageBuffers) {
        if self.spare.len() < SPARE * 4 {
            self.spare.push(buffers);
        } else {
            self.sets -= 1;
        }
    }

    /// Registered bytes, in use or not.
    pub fn bytes(&self) -> usize {
        self.sets * self.layout.bytes()
    }
}

/// Starts the thread that registers what is ordered. It ends when nobody can order any more.
pub fn keeper(control: Mailer<ControlMessage>) -> std::io::Result<Sender<Order>> {
    let (orders, ordered): (_, Receiver<Order>) = crossbeam_channel::unbounded();
    thread::Builder::new()
        .name("buffers".to_owned())
        .spawn(move || {
            for order in ordered {
                let Order { adapter, layout } = order;
                let buffers = layout.allocate(&*adapter);
                if let Err(error) = &buffers {
                    tracing::warn!(adapter = adapter.name(), %error, "cannot register message buffers");
                }
                control.send(ControlMessage::Buffers {
                    adapter,
                    buffers: buffers.ok(),
                });
            }
        })?;
    Ok(orders)
}
