"""The formats on disk and on the wire: records, batches, frames. Client and server share them; no HTTP."""
