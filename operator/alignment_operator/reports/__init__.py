"""Reports of jobs: fetched from the Pods that write them, kept in ConfigMaps, and served to people."""
