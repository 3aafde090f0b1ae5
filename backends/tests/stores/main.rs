//! Real stores, through the public interface: files on a memory and on a disk file system, anonymous memory, and (where
//! the tests run as root) loop devices and full file systems.

mod block_devices;
mod files;
mod page_cache;
mod places;
mod queues;
mod resize;
mod splices;
mod support;
