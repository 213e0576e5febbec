"""When commands run by themselves: written for systemd, cron or Kubernetes, which then do the running."""
