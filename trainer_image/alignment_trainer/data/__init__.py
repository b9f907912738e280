"""From the user's datasets to validated rows in TRL's standard conversational format."""
