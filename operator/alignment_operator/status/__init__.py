"""Pure: how what happened is told in an AlignmentJob's status. The clock is passed in."""
