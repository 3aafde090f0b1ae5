//! What hosts do over iSER in a [`World`].

use std::net::SocketAddr;

use pagecast_initiator::iscsi::LoginOptions;
use pagecast_initiator::iser::{Command, ConnectionHandle, Data, Options, Reply, State};
use pagecast_initiator::{Buffer, InitiatorError, scsi};

use crate::world::{Host, World};

/// The target of every world.
pub const TARGET: &str = "iqn.2026-11.io.pagecast:store";

/// The name of a host's initiator.
pub fn initiator_name(host: Host) -> String {
    format!("iqn.2026-11.io.pagecast.test:host{host}")
}

/// A normal session of a host.
pub fn login(host: Host) -> LoginOptions {
    LoginOptions::iser(&initiator_name(host), TARGET)
}

/// A discovery session of a host.
pub fn discovery(host: Host) -> LoginOptions {
    LoginOptions::discovery(&initiator_name(host))
}

/// READ(16) of LUN 0 into all of `buffer`.
pub fn read(buffer: &Buffer, lba: u64, blocks: u32) -> Command {
    let piece = buffer.piece(0, buffer.length()).expect("all of it");
    Command::new(0, scsi::read16(lba, blocks), Data::In(piece))
}

/// WRITE(16) of LUN 0 of all of `buffer`, so many bytes of it with the command.
pub fn write(buffer: &Buffer, lba: u64, immediate: usize) -> Command {
    let piece = buffer.piece(0, buffer.length()).expect("all of it");
    let blocks = (buffer.length() / 512) as u32;
    let cdb = scsi::write16(lba, blocks, false);
    Command::new(0, cdb, Data::Out { piece, immediate })
}

impl World {
    pub(crate) fn turn_iser(&mut self, host: Host) -> bool {
        let turned = self.iser[host].turn();
        turned.unwrap_or_else(|error| {
            panic!("seed {}: the target broke the protocol: {error}", self.seed)
        })
    }

    /// Connects and logs in, or says why not.
    pub fn iser_connect(&mut self, host: Host, options: Options) -> (ConnectionHandle, State) {
        let to = SocketAddr::from(([10, 0, 0, 1], 3260));
        let connection = self.iser[host].connect(to, options).expect("a connection");
        let state = self.run_until(|world| {
            let state = world.iser[host].state(connection);
            let undecided = matches!(state, State::Connecting | State::LoggingIn);
            (!undecided).then(|| state.clone())
        });
        (connection, state)
    }

    /// Logs in; that must succeed.
    pub fn iser_log_in(&mut self, host: Host, options: Options) -> ConnectionHandle {
        let (connection, state) = self.iser_connect(host, options);
        self.iser_connections.push((host, connection));
        assert_eq!(state, State::Up, "seed {}", self.seed);
        connection
    }

    /// Logs in as usual.
    pub fn iser_session(&mut self, host: Host) -> ConnectionHandle {
        self.iser_log_in(host, Options::new(login(host)))
    }

    /// Memory of a host.
    pub fn iser_buffer(&self, host: Host, connection: ConnectionHandle, length: usize) -> Buffer {
        self.iser[host]
            .allocate(connection, length)
            .expect("a buffer")
    }

    /// Memory of a host with bytes in it.
    pub fn iser_filled(&self, host: Host, connection: ConnectionHandle, bytes: &[u8]) -> Buffer {
        let buffer = self.iser_buffer(host, connection, bytes.len());
        buffer.write(0, bytes).expect("within the buffer");
        buffer
    }

    /// Sends a command as soon as the window is open.
    pub fn iser_send(
        &mut self,
        host: Host,
        connection: ConnectionHandle,
        command: &Command,
    ) -> u32 {
        self.run_until(|world| {
            let initiator = &world.iser[host];
            (initiator.can_send(connection) || !initiator.is_up(connection)).then_some(())
        });
        self.iser[host]
            .send(connection, command)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Waits for a reply.
    pub fn iser_try_reply(
        &mut self,
        host: Host,
        connection: ConnectionHandle,
        itt: u32,
    ) -> Result<Reply, InitiatorError> {
        self.run_until(|world| {
            let initiator = &mut world.iser[host];
            match initiator.take_reply(connection, itt) {
                Some(reply) => Some(Ok(reply)),
                None if initiator.is_up(connection) => None,
                None => {
                    let state = initiator.state(connection).clone();
                    Some(Err(InitiatorError::NotConnected(state)))
                }
            }
        })
    }

    /// Waits for a reply, which must come.
    pub fn iser_reply(&mut self, host: Host, connection: ConnectionHandle, itt: u32) -> Reply {
        self.iser_try_reply(host, connection, itt)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Executes a command.
    pub fn iser_execute(
        &mut self,
        host: Host,
        connection: ConnectionHandle,
        command: &Command,
    ) -> Reply {
        let itt = self.iser_send(host, connection, command);
        self.iser_reply(host, connection, itt)
    }

    /// READ(16) of LUN 0.
    pub fn iser_read(
        &mut self,
        host: Host,
        connection: ConnectionHandle,
        lba: u64,
        blocks: u32,
    ) -> Vec<u8> {
        let buffer = self.iser_buffer(host, connection, blocks as usize * 512);
        let reply = self.iser_execute(host, connection, &read(&buffer, lba, blocks));
        assert!(
            reply.is_good(),
            "seed {}: READ of {blocks} blocks at {lba}: {reply:?}",
            self.seed
        );
        reply.data()
    }

    /// WRITE(16) of LUN 0, with so many bytes of immediate data.
    pub fn iser_write(
        &mut self,
        host: Host,
        connection: ConnectionHandle,
        lba: u64,
        bytes: &[u8],
        immediate: usize,
    ) {
        let buffer = self.iser_filled(host, connection, bytes);
        let reply = self.iser_execute(host, connection, &write(&buffer, lba, immediate));
        assert!(
            reply.is_good(),
            "seed {}: WRITE of {} bytes at {lba}: {reply:?}",
            self.seed,
            bytes.len()
        );
    }

    /// Waits until a connection is over.
    pub fn iser_over(&mut self, host: Host, connection: ConnectionHandle) -> State {
        self.run_until(|world| {
            let state = world.iser[host].state(connection);
            let over = !matches!(
                state,
                State::Connecting | State::LoggingIn | State::Up | State::Closing
            );
            over.then(|| state.clone())
        })
    }
}
