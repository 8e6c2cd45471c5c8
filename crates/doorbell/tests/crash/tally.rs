//! The sums over all rounds.

use doorbell_protocol::receipt::Outcome;

use crate::letter::Letter;
use crate::round::Round;

#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) accepted: usize,
    pub(crate) delivered_before: usize,
    pub(crate) delivered_after: usize,
    pub(crate) replaced: usize,
    unanswered: usize,
    unanswered_delivered: usize,
    refused: usize,
    receipts_promised: usize,
    pub(crate) receipts_before: usize,
    pub(crate) receipts_after: usize,
    undecryptable: usize,
    replaced_with_receipt_wanted: usize,
    deletes_unanswered: usize,
    twins: usize,
    pub(crate) twins_one_stored: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, round: &Round) {
        let arrived = round.arrived();
        let accepted = || round.accepted.iter();
        let after = accepted().filter(|(path, _)| round.after.contains_key(*path)).count();
        let missing = || accepted().filter(|(path, _)| !arrived.contains_key(path.as_str()));
        self.accepted += round.accepted.len();
        self.delivered_after += after;
        self.delivered_before += round.accepted.len() - after - missing().count();
        self.replaced += missing().count();
        self.unanswered += round.unanswered;
        self.unanswered_delivered += arrived.keys().filter(|path| !round.accepted.contains_key(**path)).count();
        self.refused += round.refused.len();
        self.receipts_promised += accepted().filter(|(_, letter)| letter.wants_receipt()).count();
        self.receipts_before += round.receipts_before.len();
        self.receipts_after += round.receipts_after.len();
        self.undecryptable += round.receipts().filter(|receipt| receipt.outcome == Outcome::Undecryptable).count();
        self.replaced_with_receipt_wanted += missing().filter(|(_, letter)| letter.wants_receipt()).count();
        self.deletes_unanswered += round.before.values().filter(|arrival| arrival.deleted.is_none()).count();

        let both_accepted = Round::topics(round.accepted.values()).into_iter().filter(|(_, messages)| *messages == 2);
        let stored: Vec<Letter> = round.after.values().map(|arrival| Letter::of(&arrival.body)).collect();
        let stored = Round::topics(&stored);
        for (topic, _) in both_accepted {
            self.twins += 1;
            self.twins_one_stored += usize::from(stored.contains_key(&topic));
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let delivered = self.delivered_before + self.delivered_after;
        write!(f, "{} accepted, {delivered} delivered ", self.accepted)?;
        write!(f, "({} before a kill, {} after the restart), ", self.delivered_before, self.delivered_after)?;
        write!(f, "{} replaced, {} lost; ", self.replaced, self.accepted - delivered - self.replaced)?;
        write!(f, "{} unanswered at a kill, {} of them delivered; ", self.unanswered, self.unanswered_delivered)?;
        writeln!(
            f,
            "{} refused; {} DELETEs unanswered, none answered came back",
            self.refused, self.deletes_unanswered
        )?;
        write!(
            f,
            "receipts: {} promised, {} received ",
            self.receipts_promised,
            self.receipts_before + self.receipts_after
        )?;
        write!(f, "({} before a kill, {} after the restart; ", self.receipts_before, self.receipts_after)?;
        write!(f, "{} of them undecryptable), none lost, none doubled; ", self.undecryptable)?;
        writeln!(f, "{} replaced, which have none", self.replaced_with_receipt_wanted)?;
        write!(f, "topics: {} pairs accepted together, ", self.twins)?;
        write!(
            f,
            "{} with exactly one stored at the kill, the others delivered before, none stored twice",
            self.twins_one_stored
        )
    }
}
