"""What a run or a comparison found in one file: a report, and a model card."""
