//! What the tests share.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pagecast_backends::{FileBackend, FileOptions, OpenError, Operation};
use pagecast_memory::{Anonymous, Slice};
use rustix::pipe::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with};

pub(crate) const PAGE: usize = 4096;

/// A directory that goes away with its test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(parent: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "pagecast-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = parent.join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// One on a memory file system, one wherever temporary files are kept.
    pub(crate) fn everywhere() -> Vec<Self> {
        [PathBuf::from("/dev/shm"), std::env::temp_dir()]
            .iter()
            .filter(|parent| parent.is_dir())
            .map(|parent| Self::new(parent))
            .collect()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file of `size` bytes, each 4 KiB of it different.
    pub(crate) fn file(&self, name: &str, size: usize) -> PathBuf {
        let path = self.0.join(name);
        File::create_new(&path)
            .unwrap()
            .write_all(&pattern(0, size))
            .unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `file` has at `offset`.
pub(crate) fn pattern(offset: usize, length: usize) -> Vec<u8> {
    (offset..offset + length)
        .map(|at| (at / 4096 * 7 + at) as u8 | 1)
        .collect()
}

pub(crate) fn open(path: &Path) -> Result<FileBackend, OpenError> {
    FileBackend::open(&FileOptions {
        path: path.to_owned(),
        read_only: false,
    })
}

pub(crate) fn memory(bytes: &[u8]) -> Slice {
    let slice = Slice::whole(Arc::new(Anonymous::new(bytes.len()).unwrap()));
    slice.write(0, bytes).unwrap();
    slice
}

pub(crate) fn buffer(length: usize) -> Slice {
    Slice::whole(Arc::new(Anonymous::new(length).unwrap()))
}

pub(crate) fn read(offset: u64, buffers: Vec<Slice>) -> Operation {
    Operation::Read { offset, buffers }
}

pub(crate) fn write(offset: u64, bytes: &[u8]) -> Operation {
    Operation::Write {
        offset,
        buffers: vec![memory(bytes)],
        durable: false,
    }
}

/// Both ends, and how many pages fit.
pub(crate) struct Pipe {
    read: File,
    write: Arc<OwnedFd>,
    pub(crate) pages: usize,
}

impl Pipe {
    pub(crate) fn new(bytes: usize) -> Self {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        fcntl_setpipe_size(&write, bytes).unwrap();
        let pages = fcntl_getpipe_size(&write).unwrap() / PAGE;
        Self {
            read: File::from(read),
            write: Arc::new(write),
            pages,
        }
    }

    pub(crate) fn splice(&self, offset: u64, length: u64) -> Operation {
        Operation::Splice {
            offset,
            length,
            pipe: Arc::clone(&self.write),
        }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut taken = vec![0; bytes];
        self.read.read_exact(&mut taken).unwrap();
        let queued = rustix::io::ioctl_fionread(self.read.as_fd()).unwrap();
        assert_eq!(queued, 0, "bytes beyond those asked for");
        taken
    }
}

/// Opens a file that nobody holds any more, but for programs that other tests are just starting: between fork and exec
/// they have every open file description of this process, its locks as well.
pub(crate) fn reopen(path: &Path) -> FileBackend {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match open(path) {
            Err(OpenError::InUse { .. }) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Runs a program for its output, or says why the test cannot run here.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program}: {}", error.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A mounted file system, unmounted when the test ends.
pub(crate) struct Mounted<'a>(pub(crate) &'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// Says that a test could not run here, past the harness, which hides the output of tests that pass.
pub(crate) fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped {name}: {why}");
}
