"""The operator: watches AlignmentJobs, starts gangs of trainer Pods and keeps the status of each job."""
