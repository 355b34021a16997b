"""What finished runs say: claims with verdicts, comparisons, reports, the ledger."""
