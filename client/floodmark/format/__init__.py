"""What lies on disks and travels: records, batches, frames. Both sides share it, and it knows no HTTP."""
