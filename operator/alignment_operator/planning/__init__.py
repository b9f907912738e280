"""Pure: from what is known about one AlignmentJob to what is to be done."""
