//! What a file has when the daemon, or the machine, stops in the middle, and when steps fail.

use super::*;
use crate::durable::Step;

/// Stops at one step: that one and all that come after it are not done. Or has some fail.
#[derive(Debug, Default)]
struct Stop {
    steps: Mutex<Vec<Step>>,
    /// At this one, from 0.
    at: Option<usize>,
    /// So many fail from there on; all of them if it is not given.
    many: Option<usize>,
}

impl Stop {
    fn at(at: usize, many: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            at: Some(at),
            many,
            ..Self::default()
        })
    }

    fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap().clone()
    }
}

impl Watch for Stop {
    fn before(&self, step: &Step) -> io::Result<()> {
        let mut steps = self.steps.lock().unwrap();
        let number = steps.len();
        steps.push(step.clone());
        let failing = self.at.is_some_and(|at| {
            let many = self.many.unwrap_or(usize::MAX);
            number >= at && number - at < many
        });
        match failing {
            true => Err(io::Error::other("stopped")),
            false => Ok(()),
        }
    }
}

fn steps_of_a_save(name: &str, text: &str) -> Vec<Step> {
    let new = format!("{name}~new");
    vec![
        Step::Remove(new.clone()),
        Step::Create(new.clone()),
        Step::Write(new.clone(), text.as_bytes().to_vec()),
        Step::SyncFile(new.clone()),
        Step::Rename(new, name.to_owned()),
        Step::SyncDirectory,
    ]
}

#[test]
fn the_new_text_is_durable_before_it_has_the_name_and_the_name_before_it_returns() {
    let directory = Directory::new("steps");
    let watch = Arc::new(Stop::default());
    let document = directory.document("c.json", TEXT).watched(watch.clone());
    let changed = with_ram(&document, "ram0");
    changed.save().unwrap();
    assert_eq!(watch.steps(), steps_of_a_save("c.json", &changed.to_text()));
}

#[test]
fn a_stop_at_any_step_leaves_the_text_before_or_the_one_after() {
    let directory = Directory::new("stops");
    let file = directory.of("c.json");
    let mut seen = [0; 2];
    for at in 0..6 {
        let document = directory.document("c.json", TEXT);
        let changed = with_ram(&document, "ram0").watched(Stop::at(at, None));
        let error = changed.save().expect_err("stopped").to_string();
        // As after a kill, there is somebody else who reads it.
        let text = fs::read_to_string(&file).unwrap();
        let after = text == changed.to_text();
        assert!(after || text == TEXT, "{text}");
        assert_eq!(after, at == 5, "step {at}");
        seen[usize::from(after)] += 1;
        if after {
            assert!(error.contains("look at what is in it"), "{error}");
        }
        let left: Vec<String> = directory.names();
        assert_eq!(
            left.len(),
            if (2..=4).contains(&at) { 2 } else { 1 },
            "{left:?}"
        );

        // What is left is no obstacle, and goes.
        let (read, _) = Document::from_file(&file).unwrap();
        let next = with_ram(&read, "ram1");
        next.save().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), next.to_text());
        assert_eq!(directory.names(), ["c.json"]);
    }
    assert_eq!(seen, [5, 1]);
}

#[test]
fn half_of_a_text_is_never_looked_at() {
    let directory = Directory::new("half");
    let document = directory.document("c.json", TEXT);
    let changed = with_ram(&document, "ram0");
    let half = &changed.to_text()[..40];
    fs::write(directory.of("c.json~new"), half).unwrap();
    let (read, _) = Document::from_file(&directory.of("c.json")).unwrap();
    assert_eq!(read, document);
    changed.save().unwrap();
    assert_eq!(directory.names(), ["c.json"]);
    assert_eq!(
        Document::from_file(&directory.of("c.json")).unwrap().0,
        changed
    );
}

#[test]
fn a_step_that_fails_leaves_nothing_behind() {
    let directory = Directory::new("fails");
    let file = directory.of("c.json");
    for at in 0..6 {
        let watch = Stop::at(at, Some(1));
        let document = directory.document("c.json", TEXT).watched(watch.clone());
        let changed = with_ram(&document, "ram0");
        let error = changed.save().expect_err("it fails").to_string();
        assert_eq!(error, "stopped", "step {at}");
        assert_eq!(fs::read_to_string(&file).unwrap(), TEXT, "step {at}");
        assert_eq!(directory.names(), ["c.json"], "step {at}");
        if at == 5 {
            // The name may have been durable: it is taken back in steps of its own.
            let mut expected = steps_of_a_save("c.json", &changed.to_text());
            expected.extend(steps_of_a_save("c.json", TEXT));
            assert_eq!(watch.steps(), expected);
        }
        // The document that it was made from is as good as it was, and so is this one.
        changed.save().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), changed.to_text());
    }
}

#[test]
fn nobody_knows_what_is_there_when_it_cannot_be_taken_back() {
    let directory = Directory::new("unsettled");
    let file = directory.of("c.json");
    let watch = Stop::at(5, Some(2));
    let document = directory.document("c.json", TEXT).watched(watch);
    let changed = with_ram(&document, "ram0");
    let error = changed.save().expect_err("it fails").to_string();
    assert_eq!(
        error,
        "stopped; nor could what was there before be put back (stopped): look at what is in it before the daemon is started again"
    );
    // Whatever is there is nobody's edit: the next one is written over it.
    assert_eq!(fs::read_to_string(&file).unwrap(), changed.to_text());
    let other = with_ram(&document, "other");
    other.save().unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), other.to_text());
}

#[test]
fn a_first_file_that_cannot_be_made_durable_goes_again() {
    let directory = Directory::new("first");
    let file = directory.of("c.json");
    let document = directory.document("c.json", TEXT);
    fs::remove_file(&file).unwrap();
    let watched = document.clone().watched(Stop::at(5, Some(1)));
    assert_eq!(watched.save().expect_err("it fails").to_string(), "stopped");
    assert!(directory.names().is_empty());
    document.save().unwrap();
    assert_eq!(directory.names(), ["c.json"]);
}
