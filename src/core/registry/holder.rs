//! Whose is a store? The term of a leader marks it; a former leader, and another installation, find the mark and leave it alone.

/// Who writes into a store: one term of the leader of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The UID of the Lease that elects the leader: it differs between installations and clusters.
    pub lease: String,
    /// The leader's epoch: grows with every term.
    pub epoch: i64,
}

/// What a mark means for who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody's, or of this term or one before it: it may be taken.
    Take,
    /// Of a later term of this installation.
    Superseded,
    /// Of another installation, or of this one before its Lease was deleted. It ends by itself when nobody renews it.
    Other,
}

/// Whether `us` may take a store with this mark.
#[must_use]
pub fn judge(mark: Option<&Holder>, us: &Holder) -> Claim {
    match mark {
        None => Claim::Take,
        Some(mark) if mark.lease != us.lease => Claim::Other,
        Some(mark) if mark.epoch > us.epoch => Claim::Superseded,
        Some(_) => Claim::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_goes_to_later_terms_of_the_same_lease_only() {
        let holder = |lease: &str, epoch| Holder { lease: lease.to_owned(), epoch };
        let us = holder("a", 5);
        assert_eq!(judge(None, &us), Claim::Take);
        assert_eq!(judge(Some(&holder("a", 4)), &us), Claim::Take);
        assert_eq!(judge(Some(&us), &us), Claim::Take, "a connection of the same term that was cut");
        assert_eq!(judge(Some(&holder("a", 6)), &us), Claim::Superseded);
        assert_eq!(judge(Some(&holder("b", 1)), &us), Claim::Other);
    }
}
