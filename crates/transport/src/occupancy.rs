//! How many places each peer holds of something that is shared: connections, or requests under way.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::Subject;

/// Counts places by peer. Forgets a peer that holds none, so that it never grows with the number of
/// peers ever seen.
#[derive(Debug, Default)]
pub(crate) struct Occupancy {
    held: Mutex<HashMap<Subject, usize>>,
}

impl Occupancy {
    /// A place, unless `subject` holds `max` of them already.
    pub(crate) fn enter(self: &Arc<Self>, subject: &Subject, max: usize) -> Option<Place> {
        let mut held = self.lock();
        match held.entry(subject.clone()) {
            Entry::Occupied(mut entry) if *entry.get() < max => *entry.get_mut() += 1,
            Entry::Vacant(entry) if max > 0 => {
                entry.insert(1);
            }
            Entry::Occupied(_) | Entry::Vacant(_) => return None,
        }
        drop(held);
        Some(Place { occupancy: self.clone(), subject: subject.clone() })
    }

    /// A panic elsewhere leaves the count as it was: every change is a single step.
    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    occupancy: Arc<Occupancy>,
    subject: Subject,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.occupancy.lock();
        if let Entry::Occupied(mut entry) = held.entry(self.subject.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_peer_takes_its_share_and_no_others() {
        let occupancy = Arc::new(Occupancy::default());
        let (greedy, modest) = (Subject::Auditor("a".parse().unwrap()), Subject::Auditor("b".parse().unwrap()));
        let places: Vec<Place> = (0..3).map(|_| occupancy.enter(&greedy, 3).unwrap()).collect();
        assert!(occupancy.enter(&greedy, 3).is_none());
        let other = occupancy.enter(&modest, 3).unwrap();
        drop(places);
        assert!(occupancy.enter(&greedy, 3).is_some());
        drop(other);
        assert!(occupancy.lock().is_empty());
    }
}
