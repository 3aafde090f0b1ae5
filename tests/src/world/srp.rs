//! What hosts do over SRP.

use std::net::SocketAddr;

use pagecast_initiator::{
    Buffer, ChannelId, ChannelState, Command, Data, Format, InitiatorError, LoginOptions, Reply,
    Task, scsi,
};

use super::{Host, World, address};

impl World {
    /// How a host logs in, unless a test wants it otherwise.
    pub fn options(&self, host: Host) -> LoginOptions {
        LoginOptions::new([0xa0 + host as u8; 16], self.target_port)
    }

    /// Logs in, or says why not.
    pub fn connect(&mut self, host: Host, options: LoginOptions) -> (ChannelId, ChannelState) {
        self.connect_to(host, address(0), options)
    }

    /// The same at another address.
    pub fn connect_to(
        &mut self,
        host: Host,
        to: SocketAddr,
        options: LoginOptions,
    ) -> (ChannelId, ChannelState) {
        let channel = self.initiators[host]
            .connect(to, options)
            .expect("a connection");
        let state = self.run_until(|world| {
            let state = world.initiators[host].state(channel);
            (*state != ChannelState::Connecting).then(|| state.clone())
        });
        (channel, state)
    }

    /// Logs in as usual.
    pub fn log_in(&mut self, host: Host) -> ChannelId {
        let options = self.options(host);
        self.log_in_with(host, options)
    }

    /// Logs in; that must succeed.
    pub fn log_in_with(&mut self, host: Host, options: LoginOptions) -> ChannelId {
        let (channel, state) = self.connect(host, options);
        self.channels.push((host, channel));
        assert_eq!(state, ChannelState::Up, "seed {}", self.seed);
        channel
    }

    /// Memory of a host.
    pub fn buffer(&mut self, host: Host, channel: ChannelId, length: usize) -> Buffer {
        self.initiators[host]
            .allocate(channel, length)
            .expect("a buffer")
    }

    /// Sends a command as soon as there is a credit.
    pub fn send(&mut self, host: Host, channel: ChannelId, command: &Command) -> u64 {
        self.run_until(|world| {
            let initiator = &world.initiators[host];
            (initiator.can_send(channel) || !initiator.is_up(channel)).then_some(())
        });
        self.initiators[host]
            .send(channel, command)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Waits for a reply.
    pub fn try_reply(
        &mut self,
        host: Host,
        channel: ChannelId,
        tag: u64,
    ) -> Result<Reply, InitiatorError> {
        self.run_until(|world| {
            let initiator = &mut world.initiators[host];
            match initiator.take_reply(channel, tag) {
                Some(reply) => Some(Ok(reply)),
                None if initiator.is_up(channel) => None,
                None => Some(Err(InitiatorError::NotUp(initiator.state(channel).clone()))),
            }
        })
    }

    /// Waits for a reply, which must come.
    pub fn reply(&mut self, host: Host, channel: ChannelId, tag: u64) -> Reply {
        self.try_reply(host, channel, tag)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed))
    }

    /// Executes a command.
    pub fn execute(&mut self, host: Host, channel: ChannelId, command: &Command) -> Reply {
        let tag = self.send(host, channel, command);
        self.reply(host, channel, tag)
    }

    /// Executes a task management function and returns the response code.
    pub fn manage(&mut self, host: Host, channel: ChannelId, task: Task) -> u8 {
        let tag = self.initiators[host]
            .task(channel, task)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        let reply = self.reply(host, channel, tag);
        reply.response.code.expect("a response code")
    }

    /// Aborts a command for LUN 0, which succeeds. No response to it is wanted any more.
    pub fn abort(&mut self, host: Host, channel: ChannelId, tag: u64) {
        let task = Task {
            lun: scsi::lun(0),
            function: 1,
            tag,
        };
        assert_eq!(self.manage(host, channel, task), 0);
        self.initiators[host].abandon(channel, tag);
    }

    /// Waits until a channel is over.
    pub fn over(&mut self, host: Host, channel: ChannelId) -> ChannelState {
        self.run_until(|world| {
            let state = world.initiators[host].state(channel);
            let over = matches!(
                state,
                ChannelState::Closed(_) | ChannelState::Failed(_) | ChannelState::Refused { .. }
            );
            over.then(|| state.clone())
        })
    }

    /// READ(16) of LUN 0 into one piece of memory.
    pub fn read(&mut self, host: Host, channel: ChannelId, lba: u64, blocks: u32) -> Vec<u8> {
        let buffer = self.buffer(host, channel, blocks as usize * 512);
        let reply = self.execute(host, channel, &read(&buffer, lba, blocks));
        assert!(
            reply.is_good(),
            "seed {}: READ of {blocks} blocks at {lba}: {:?}",
            self.seed,
            reply.sense()
        );
        reply.data()
    }

    /// WRITE(16) of LUN 0 from one piece of memory.
    pub fn write(&mut self, host: Host, channel: ChannelId, lba: u64, bytes: &[u8]) {
        let buffer = self.buffer(host, channel, bytes.len());
        buffer.write(0, bytes).expect("within the buffer");
        let reply = self.execute(host, channel, &write(&buffer, lba));
        assert!(
            reply.is_good(),
            "seed {}: WRITE of {} bytes at {lba}: {:?}",
            self.seed,
            bytes.len(),
            reply.sense()
        );
    }
}

/// READ(16) of LUN 0 into all of `buffer`, directly.
pub fn read(buffer: &Buffer, lba: u64, blocks: u32) -> Command {
    let pieces = buffer.whole().expect("all of it");
    Command::new(
        0,
        scsi::read16(lba, blocks),
        Data::In(pieces, Format::Direct),
    )
}

/// WRITE(16) of LUN 0 of all of `buffer`, directly.
pub fn write(buffer: &Buffer, lba: u64) -> Command {
    let pieces = buffer.whole().expect("all of it");
    let blocks = (buffer.length() / 512) as u32;
    Command::new(
        0,
        scsi::write16(lba, blocks, false),
        Data::Out(pieces, Format::Direct),
    )
}
