//! The byte budget of the process: taken before a page is asked for, given back when its step is durable (I6).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// What a page usually takes at worst: 1 MB of item data with its type tags and base64.
const PAGE_RESERVE_BYTES: usize = 2 << 20;
/// The budget is counted in units of this many bytes.
const UNIT_BYTES: usize = 1 << 10;

/// The budget. Waiting for it is first come, first served.
pub(super) struct Budget {
    units: Semaphore,
    reserve_units: usize,
    /// Units held beyond the budget by pages that were larger than what was reserved: paid by whoever gives back next.
    debt_units: Mutex<usize>,
}

/// A part of the budget. Dropping it gives it back.
pub(super) struct Hold {
    budget: Arc<Budget>,
    units: usize,
}

impl Budget {
    /// A budget of `bytes`, at least one unit.
    pub fn new(bytes: usize) -> Arc<Self> {
        let units = bytes.div_ceil(UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let reserve_units = (PAGE_RESERVE_BYTES / UNIT_BYTES).min(units);
        Arc::new(Self { units: Semaphore::new(units), reserve_units, debt_units: Mutex::new(0) })
    }

    /// Waits until there is room for a page. Whoever holds room gives it back without waiting for more: a lane commits
    /// what it has after its delay, and one whose session ended holds nothing, so this always ends.
    pub async fn reserve(self: &Arc<Self>) -> Hold {
        let units = self.reserve_units;
        let many = u32::try_from(units).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        if let Ok(permit) = self.units.acquire_many(many).await {
            permit.forget();
        }
        Hold { budget: Arc::clone(self), units }
    }

    /// Room for a page, where there is some and nobody waits for it.
    pub fn try_reserve(self: &Arc<Self>) -> Option<Hold> {
        let units = self.reserve_units;
        let many = u32::try_from(units).unwrap_or(u32::MAX);
        // What comes back goes to those who wait: none is free while somebody does.
        self.units.try_acquire_many(many).ok()?.forget();
        Some(Hold { budget: Arc::clone(self), units })
    }

    fn give_back(&self, units: usize) {
        let mut debt = self.debt_units.lock().unwrap_or_else(PoisonError::into_inner);
        let paid = units.min(*debt);
        *debt -= paid;
        self.units.add_permits(units - paid);
    }
}

impl Hold {
    /// What it is for takes so many bytes more.
    pub fn grow(&mut self, bytes: usize) {
        self.resize(self.units * UNIT_BYTES + bytes);
    }

    /// Sets the hold to what the page really takes.
    pub fn resize(&mut self, bytes: usize) {
        let units = bytes.div_ceil(UNIT_BYTES);
        if units < self.units {
            self.budget.give_back(self.units - units);
        } else {
            let more = units - self.units;
            let free = u32::try_from(more).ok().and_then(|more| self.budget.units.try_acquire_many(more).ok());
            match free {
                Some(permit) => permit.forget(),
                // The page is here already: it is counted, and the next page waits the longer for it.
                None => *self.budget.debt_units.lock().unwrap_or_else(PoisonError::into_inner) += more,
            }
        }
        self.units = units;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.give_back(self.units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_comes_back() {
        let budget = Budget::new(5 << 20);
        let mut small = budget.reserve().await;
        let mut large = budget.reserve().await;
        assert_eq!(budget.units.available_permits(), 1024);
        small.resize(10);
        assert_eq!(budget.units.available_permits(), 1024 + 2047);
        large.resize(9 << 20);
        assert_eq!(*budget.debt_units.lock().expect("lock"), 7 << 10, "larger than all that is free: a debt");
        drop(small);
        assert_eq!(budget.units.available_permits(), 1024 + 2047, "what comes back pays the debt first");
        drop(large);
        assert_eq!(budget.units.available_permits(), 5 << 10);
        assert_eq!(*budget.debt_units.lock().expect("lock"), 0);
    }

    #[tokio::test]
    async fn a_budget_below_a_page_still_reads_one_page_at_a_time() {
        let budget = Budget::new(1);
        let hold = budget.reserve().await;
        assert_eq!(budget.units.available_permits(), 0);
        drop(hold);
        assert_eq!(budget.units.available_permits(), 1);
    }
}
