//! Random changes, by the rules and by the model.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::model::*;
use super::*;

/// Who asks: often the one that may do most.
#[derive(Clone, Copy, Debug)]
enum Who {
    This(u8),
    /// A holder if there is one, or else this one.
    Holder(u8),
}

impl Who {
    fn number(self, model: &Model) -> u8 {
        match self {
            Self::This(who) => who,
            Self::Holder(who) => model.holders().first().copied().unwrap_or(who),
        }
    }
}

fn status_of(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Conflict => CONFLICT,
        Refusal::WrongType => BAD_RELEASE,
        Refusal::ZeroKey | Refusal::AlreadyRegistered | Refusal::BadMove => IN_LIST,
        Refusal::NothingToMove => IN_CDB,
        Refusal::NoRoom => NO_ROOM,
        Refusal::Busy | Refusal::NotSaved => "not of a table",
    }
}

fn outcome_of(applied: &Applied) -> Outcome {
    let number =
        |registrant: &Registrant| (0..PEOPLE).find(|who| person(*who) == *registrant).unwrap();
    Outcome {
        attentions: applied
            .notices
            .iter()
            .map(|(to, notice)| {
                let what = match notice {
                    Notice::ReservationPreempted => RESERVATIONS_PREEMPTED,
                    Notice::ReservationReleased => RESERVATIONS_RELEASED,
                    Notice::RegistrationPreempted => REGISTRATIONS_PREEMPTED,
                };
                (number(to), what)
            })
            .collect(),
        aborted: applied.aborted.iter().map(number).collect(),
    }
}

fn in_order(mut outcome: Outcome) -> Outcome {
    outcome.attentions.sort_unstable();
    outcome.aborted.sort_unstable();
    outcome
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        8 => Just(Key::Own),
        1 => (0..4_u64).prop_map(Key::This),
        1 => Just(Key::Ignored),
    ]
}

fn type_code() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![1, 3, 5, 6, 7, 8])
}

fn victim() -> impl Strategy<Value = Victim> {
    prop_oneof![
        3 => (0..PEOPLE).prop_map(Victim::KeyOf),
        1 => (0..4_u64).prop_map(Victim::This),
        1 => Just(Victim::This(0)),
    ]
}

fn ask() -> impl Strategy<Value = Ask> {
    let new_key = || 0..4_u64;
    let ids = || prop_oneof![4 => Just(vec![]), 1 => vec(0..PEOPLE, 1..4)];
    prop_oneof![
        12 => (key(), new_key(), ids(), any::<bool>())
            .prop_map(|(given, key, ids, aptpl)| Ask::Register(given, key, ids, aptpl)),
        4 => (new_key(), any::<bool>())
            .prop_map(|(key, aptpl)| Ask::RegisterAndIgnore(key, aptpl)),
        4 => new_key().prop_map(Ask::NvmeRegister),
        2 => prop::option::of(key()).prop_map(Ask::NvmeUnregister),
        2 => (key(), new_key()).prop_map(|(given, key)| Ask::NvmeReplace(given, key)),
        10 => (key(), type_code()).prop_map(|(given, code)| Ask::Reserve(given, code)),
        5 => (key(), type_code()).prop_map(|(given, code)| Ask::Release(given, code)),
        1 => key().prop_map(Ask::Clear),
        10 => (key(), victim(), type_code(), any::<bool>())
            .prop_map(|(given, victim, code, abort)| Ask::Preempt(given, victim, code, abort)),
        8 => (key(), new_key(), 0..PEOPLE, any::<bool>(), any::<bool>())
            .prop_map(|(given, key, to, unreg, aptpl)| Ask::Move(given, key, to, unreg, aptpl)),
        1 => any::<bool>().prop_map(Ask::Persist),
        1 => Just(Ask::Wipe),
    ]
}

fn sequence() -> impl Strategy<Value = Vec<(Who, Ask)>> {
    let who = prop_oneof![
        2 => (0..PEOPLE).prop_map(Who::This),
        1 => (0..PEOPLE).prop_map(Who::Holder),
    ];
    vec((who, ask()), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn tables_do_what_the_text_says(asks in sequence()) {
        let mut model = Model::default();
        let mut table = Table::new(ROOM);
        for (who, ask) in asks {
            let who = who.number(&model);
            let action = model.action(who, &ask);
            let expected = model.answer(who, &ask).map(in_order);
            let found = table.apply(&change(&person(who), action));
            let outcome = found.as_ref().map(outcome_of).map(in_order);
            prop_assert_eq!(&outcome.map_err(|refusal| status_of(*refusal)), &expected, "{:?}", ask);
            if let Ok(applied) = found {
                if !matches!(ask, Ask::Wipe) {
                    check(&applied, &person(who));
                }
                table = applied.table;
            }
            model.agrees(&table);
        }
    }
}

/// The sequences above are worth something: every kind of outcome comes about.
#[test]
fn random_changes_come_to_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..800 {
        let asks = sequence().new_tree(&mut runner).unwrap();
        let mut model = Model::default();
        for (who, ask) in asks.current() {
            let who = who.number(&model);
            match model.answer(who, &ask) {
                Ok(outcome) => {
                    *outcomes.entry("GOOD").or_default() += 1;
                    for (_, what) in outcome.attentions {
                        *outcomes.entry(what).or_default() += 1;
                    }
                    if !outcome.aborted.is_empty() {
                        *outcomes.entry("aborted").or_default() += 1;
                    }
                    if matches!(ask, Ask::Move(..)) {
                        *outcomes.entry("moved").or_default() += 1;
                    }
                }
                Err(status) => *outcomes.entry(status).or_default() += 1,
            }
        }
    }
    for what in [
        "GOOD",
        "aborted",
        "moved",
        CONFLICT,
        IN_LIST,
        IN_CDB,
        NO_ROOM,
        BAD_RELEASE,
        RESERVATIONS_PREEMPTED,
        RESERVATIONS_RELEASED,
        REGISTRATIONS_PREEMPTED,
    ] {
        let times = outcomes.get(what).copied().unwrap_or(0);
        assert!(times > 30, "{what}: {outcomes:?}");
    }
}
