"""The promises, by subject: tasks, results, runs, clusters."""
