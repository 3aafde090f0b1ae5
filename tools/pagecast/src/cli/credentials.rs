//! `pagecast chap` and `pagecast dhchap`. Secrets come from files: everybody on the machine can read a command line.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::params::Params;
use super::{Action, Request, UsageError};

#[derive(Debug, Subcommand)]
pub(crate) enum Chap {
    /// Initiators have to prove who they are from now on, or with something else
    ///
    /// For iSCSI and iSER, which have one secret for each group or, without GROUP, one for all groups of the target that have none of
    /// their own. It takes the place of the one there is. Who has proved something to its group stays logged in; who has not is closed,
    /// and comes back with the secret.
    ///
    /// A secret is 12 to 255 bytes (12 to 16 for Windows), what is in the file without the end of its line. With the mutual ones the target
    /// proves who it is as well; their secret is to be another one.
    #[command(after_help = "\
Examples:
  pagecast chap set store web --user web --secret-file /root/web.secret
  pagecast chap set store --user anybody --secret-file - < /root/all.secret
  pagecast chap set store web --user web --secret-file web.secret --mutual-user store --mutual-secret-file store.secret

A group that is new admits nobody while it has no patterns: add it without, give it its secret, and its patterns with
`pagecast initiator add` after that.")]
    Set(SetChap),
    /// Initiators need not prove who they are any more
    ///
    /// Those of a group then prove what its target asks for, if anything.
    Remove(Owner),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dhchap {
    /// NVMe hosts have to prove who they are from now on, or with another key
    ///
    /// There is one key for each group or, without GROUP, one for all groups of the target that have none of their own. It takes the place of
    /// the one there is. Who has proved something to its group stays connected; who has not is closed, and comes back with the key.
    #[command(after_help = "\
Examples:
  nvme gen-dhchap-key > /root/web.key && pagecast dhchap set store web --key-file /root/web.key
  pagecast dhchap set store web --key-file web.key --controller-key-file store.key --hash sha384 --hash sha512")]
    Set(SetDhchap),
    /// NVMe hosts need not prove who they are any more
    ///
    /// Those of a group then prove what its target asks for, if anything.
    Remove(Owner),
}

#[derive(Debug, Args)]
pub(crate) struct Owner {
    /// The target's name
    target: String,
    /// The group's name; if it is missing, the target's own, for all groups that have none
    group: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SetChap {
    #[command(flatten)]
    owner: Owner,

    /// The name that initiators give
    #[arg(long, value_name = "NAME")]
    user: String,

    /// Where the secret is that they prove to know; - is standard input
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,

    /// The name that the target gives
    #[arg(long, value_name = "NAME", requires = "mutual_secret_file")]
    mutual_user: Option<String>,

    /// Where the secret is that the target proves to know
    #[arg(long, value_name = "FILE", requires = "mutual_user")]
    mutual_secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SetDhchap {
    #[command(flatten)]
    owner: Owner,

    /// Where the key is that hosts prove to know, as `nvme gen-dhchap-key` prints it; - is standard input
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,

    /// Where the key is that the target proves to know
    #[arg(long, value_name = "FILE")]
    controller_key_file: Option<PathBuf>,

    /// A hash function that may be used (sha256, sha384, sha512), all if none is given; may be given several times
    #[arg(long = "hash", value_name = "NAME")]
    hashes: Vec<String>,

    /// A Diffie-Hellman group that may be used (null, ffdhe2048, ffdhe3072, ffdhe4096, ffdhe6144, ffdhe8192), all if none is given; may
    /// be given several times
    #[arg(long = "dh-group", value_name = "NAME")]
    dh_groups: Vec<String>,
}

/// A parameter whose value is in a file.
pub(crate) type SecretFile = (&'static str, PathBuf);

impl Owner {
    fn params(self) -> Params {
        Params::new()
            .with("target", self.target)
            .maybe("group", self.group)
    }
}

impl Chap {
    pub(super) fn action(self) -> Result<Action, UsageError> {
        match self {
            Self::Set(set) => {
                let params = (set.owner.params())
                    .with("user", set.user)
                    .maybe("mutual_user", set.mutual_user);
                let files = [
                    ("secret", Some(set.secret_file)),
                    ("mutual_secret", set.mutual_secret_file),
                ];
                with_files(Request::new("chap.set", params), files)
            }
            Self::Remove(owner) => Ok(Request::new("chap.remove", owner.params()).into()),
        }
    }
}

impl Dhchap {
    pub(super) fn action(self) -> Result<Action, UsageError> {
        match self {
            Self::Set(set) => {
                let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
                let params = (set.owner.params())
                    .maybe("hashes", some(set.hashes))
                    .maybe("groups", some(set.dh_groups));
                let files = [
                    ("key", Some(set.key_file)),
                    ("controller_key", set.controller_key_file),
                ];
                with_files(Request::new("dhchap.set", params), files)
            }
            Self::Remove(owner) => Ok(Request::new("dhchap.remove", owner.params()).into()),
        }
    }
}

fn with_files(
    request: Request,
    files: [(&'static str, Option<PathBuf>); 2],
) -> Result<Action, UsageError> {
    let given = files.into_iter();
    let files: Vec<SecretFile> = given.filter_map(|(key, file)| Some((key, file?))).collect();
    let inputs = files.iter().filter(|(_, file)| file == Path::new("-"));
    if inputs.count() > 1 {
        return Err(UsageError(
            "only one of them can be on standard input; put the other one into a file".to_owned(),
        ));
    }
    Ok(Action::WithSecrets(request, files))
}
