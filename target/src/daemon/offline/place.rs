//! Devices that work, but whose paths do not lead to their stores any more: whoever starts the daemon again finds something else, or
//! nothing. They go on being served, since what is open is what initiators have.

use pagecast_backends::Misplaced;

use super::Troubles;
use crate::daemon::Shared;
use crate::device::Device;
use crate::events::EventKind;

/// A path that leads elsewhere.
#[derive(Debug)]
pub(super) struct Astray {
    what: Misplaced,
    /// It was so more than once. Links are made anew in more than one step, by udev for one.
    is_sure: bool,
}

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Misplaced(Misplaced),
    InPlace,
}

impl Troubles {
    /// What has become of the path of a device in service.
    pub fn of_place(&self, device: &Device) -> Option<Misplaced> {
        let astray = self.astray();
        let found = astray.get(&device.index).filter(|found| found.is_sure);
        found.map(|found| found.what.clone())
    }

    /// Notes how a path was found.
    fn note_place(&self, index: usize, found: Option<Misplaced>) -> Option<News> {
        let mut astray = self.astray();
        let Some(what) = found else {
            let before = astray.remove(&index)?;
            return before.is_sure.then_some(News::InPlace);
        };
        let Some(before) = astray.get_mut(&index) else {
            let is_sure = false;
            astray.insert(index, Astray { what, is_sure });
            return None;
        };
        if before.is_sure && before.what == what {
            return None;
        }
        before.is_sure = true;
        before.what = what.clone();
        Some(News::Misplaced(what))
    }
}

impl Shared {
    /// Looks whether the path of a device that works leads to its store, and tells of it when it does no more, or does again.
    pub(super) fn look_for_place(&self, device: &Device) {
        let found = match device.look_for_place() {
            Ok(found) => found,
            // No right to look, or a file server that is out of reach: what was known is as good as ever.
            Err(error) => {
                tracing::debug!(device = %device.name, %error, "cannot tell where its path leads");
                return;
            }
        };
        match self.troubles.note_place(device.index, found) {
            Some(News::Misplaced(what)) => {
                tracing::error!(device = %device.name, "{what}");
                self.events.tell(EventKind::Error {
                    what: format!("device {}: {what}", device.name),
                });
            }
            Some(News::InPlace) => {
                tracing::info!(device = %device.name, path = %device.path.display(), "its store is back at its path");
                self.events.tell(EventKind::DeviceOnline {
                    device: device.name.clone(),
                });
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved() -> Misplaced {
        Misplaced::Moved {
            path: "/srv/disk".into(),
        }
    }

    fn replaced() -> Misplaced {
        Misplaced::Replaced {
            path: "/srv/disk".into(),
        }
    }

    #[test]
    fn told_when_it_is_sure_and_when_it_is_over() {
        let troubles = Troubles::default();
        let note = |found| troubles.note_place(7, found);
        assert_eq!(note(None), None);
        // A moment between two names.
        assert_eq!((note(Some(moved())), note(None)), (None, None));
        assert_eq!(note(Some(moved())), None);
        assert_eq!(note(Some(moved())), Some(News::Misplaced(moved())));
        assert_eq!(note(Some(moved())), None, "once");
        assert_eq!(note(Some(replaced())), Some(News::Misplaced(replaced())));
        assert_eq!(note(None), Some(News::InPlace));
        assert_eq!(note(None), None);
        // Others are others.
        assert_eq!(note(Some(moved())), None);
        assert_eq!(troubles.note_place(8, Some(moved())), None);
    }
}
