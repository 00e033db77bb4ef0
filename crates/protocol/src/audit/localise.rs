//! Finds the blobs behind a false fold, by bisection under the same γ and z: valid answers add up,
//! so a valid left half of a false whole convicts the right half without another question. It goes
//! deep first, so that one blob is named after at most two questions a level, however many are bad.
//!
//! A half convicts the other only if the node left out the same blobs in both answers: one that
//! admits more damage when asked again has answered another question.

use super::classify::{Blobs, clip};

/// A part of the set that is known to be false: the node's answer over it, without `excluded`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    from: u64,
    to: u64,
    excluded: Blobs,
}

impl Part {
    fn claimed(&self) -> u64 {
        self.to - self.from - self.excluded.iter().map(|(from, to)| to - from).sum::<u64>()
    }

    fn cut(&self, from: u64, to: u64) -> Self {
        Self { from, to, excluded: clip(&self.excluded, from, to) }
    }

    /// The one blob that is claimed, if it is one.
    fn single(&self) -> Option<u64> {
        let free = |blob: &u64| !self.excluded.iter().any(|(from, to)| (from..to).contains(&blob));
        (self.claimed() == 1).then(|| (self.from..self.to).find(free)).flatten()
    }

    /// In the middle of what is claimed, so that every question halves it.
    fn middle(&self) -> u64 {
        let mut left = self.claimed() / 2;
        let mut at = self.from;
        for (from, to) in &self.excluded {
            let claimed = from - at;
            if left <= claimed {
                break;
            }
            left -= claimed;
            at = *to;
        }
        at + left
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Question {
    /// The left half of a false part.
    Left(Part, u64),
    /// A right half of which nothing is known.
    Right(Part),
}

/// One localisation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Localise {
    left_to_ask: u32,
    bad: Vec<Part>,
    question: Option<Question>,
    found: Vec<u64>,
    unresolved: Blobs,
}

impl Localise {
    /// The answer over blobs `from..to` without `excluded` was false. `questions_max` questions are asked, or as many
    /// more as it takes to name one blob: without one there is nothing for the judge, and so no conviction.
    pub(super) fn new(from: u64, to: u64, excluded: Blobs, questions_max: u32) -> Self {
        let levels = (to - from).next_power_of_two().trailing_zeros();
        let bad = vec![Part { from, to, excluded: clip(&excluded, from, to) }];
        Self {
            left_to_ask: questions_max.max(2 * levels),
            bad,
            question: None,
            found: Vec::new(),
            unresolved: Vec::new(),
        }
    }

    /// Which blobs to ask for next; `None` when it is done.
    pub(super) fn next(&mut self) -> Option<(u64, u64)> {
        loop {
            if let Some(question) = &self.question {
                if self.left_to_ask > 0 {
                    self.left_to_ask -= 1;
                    return Some(match question {
                        Question::Left(part, middle) => (part.from, *middle),
                        Question::Right(part) => (part.from, part.to),
                    });
                }
                // The questions are used up: what was only suspected is let go, what is known is kept.
                if let Some(Question::Left(part, _)) = self.question.take() {
                    self.unresolved.push((part.from, part.to));
                }
                continue;
            }
            let part = self.bad.pop()?;
            if let Some(blob) = part.single() {
                self.found.push(blob);
            } else if part.claimed() > 1 {
                let middle = part.middle();
                self.question = Some(Question::Left(part, middle));
            }
        }
    }

    /// The answer to what [`Localise::next`] asked: whether it was valid, and what it left out.
    pub(super) fn learn(&mut self, valid: bool, excluded: &[(u64, u64)]) {
        match self.question.take() {
            Some(Question::Left(whole, middle)) => {
                let (left, right) = (whole.cut(whole.from, middle), whole.cut(middle, whole.to));
                let same = clip(excluded, left.from, left.to) == left.excluded;
                if !valid {
                    self.bad.push(Part { excluded: clip(excluded, left.from, left.to), ..left });
                }
                if valid && same {
                    self.bad.push(right);
                } else if right.claimed() > 0 {
                    self.question = Some(Question::Right(right));
                }
            }
            Some(Question::Right(part)) if !valid => {
                self.bad.push(Part { excluded: clip(excluded, part.from, part.to), ..part });
            }
            Some(Question::Right(_)) | None => {}
        }
    }

    /// Blobs whose own answer is false.
    pub(super) fn found(&self) -> &[u64] {
        &self.found
    }

    /// Parts that are false, and that no question was left for.
    pub(super) fn unresolved(&self) -> &[(u64, u64)] {
        &self.unresolved
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Plays a node that folds garbage for `bad` and leaves out `excluded`.
    fn run(total: u64, bad: &BTreeSet<u64>, excluded: &Blobs, most: u32) -> (Localise, u32) {
        let mut localise = Localise::new(0, total, excluded.clone(), most);
        let mut asked = 0;
        while let Some((from, to)) = localise.next() {
            asked += 1;
            let valid = !(from..to).any(|blob| bad.contains(&blob));
            localise.learn(valid, &clip(excluded, from, to));
        }
        (localise, asked)
    }

    #[test]
    fn one_bad_blob_of_a_petabyte_s_node_is_named_within_the_questions() {
        for bad in [0, 1, 77_777, (1 << 17) - 1] {
            let (localise, asked) = run(1 << 17, &BTreeSet::from([bad]), &vec![], 64);
            assert_eq!(localise.found(), [bad]);
            assert!(asked <= 34, "{asked}");
            assert!(localise.unresolved().is_empty());
        }
    }

    #[test]
    fn too_many_bad_blobs_leave_whole_parts_but_name_one() {
        let bad = (0..1 << 12).collect();
        let (localise, asked) = run(1 << 12, &bad, &vec![], 64);
        assert_eq!(asked, 64);
        assert!(!localise.found().is_empty());
        assert!(!localise.unresolved().is_empty());
    }

    /// Attack: admit a bad blob only when asked for a half, so that the other, honest half looks convicted.
    #[test]
    fn damage_admitted_late_convicts_nobody_else() {
        let mut localise = Localise::new(0, 8, vec![], 64);
        assert_eq!(localise.next(), Some((0, 4)));
        localise.learn(true, &[(2, 3)]);
        assert_eq!(localise.next(), Some((4, 8)), "the right half is asked, not inferred");
        localise.learn(true, &[]);
        assert_eq!(localise.next(), None);
        assert!(localise.found().is_empty());
    }

    proptest! {
        #[test]
        fn exactly_the_bad_blobs_are_found(
            total in 1u64..200, bad in proptest::collection::btree_set(0u64..200, 1..5),
            gaps in proptest::collection::vec((0u64..200, 1u64..9), 0..4),
        ) {
            let excluded = super::super::classify::join(clip(&gaps.iter().map(|(at, len)| (*at, at + len)).collect::<Vec<_>>(), 0, total));
            let hidden = |blob: &u64| *blob < total && !excluded.iter().any(|(from, to)| (from..to).contains(&blob));
            let bad: BTreeSet<u64> = bad.into_iter().filter(hidden).collect();
            prop_assume!(!bad.is_empty());
            let (localise, _) = run(total, &bad, &excluded, 10_000);
            prop_assert_eq!(localise.found().iter().copied().collect::<BTreeSet<_>>(), bad);
            prop_assert!(localise.unresolved().is_empty());
        }
    }
}
