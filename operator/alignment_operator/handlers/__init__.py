"""kopf's place: what it sees goes into the store, and the key of the job concerned into the queue."""
