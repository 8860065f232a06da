"""One replica of a Raft group, without I/O but its log: the contract between ``Group`` and whoever runs it.

A group is driven by its host (``consensus/host``, or the simulator in ``tests/simulation``). It reads no
clock but the one that it was given, and starts no thread. Every call is made on one thread, the group's,
except those that are named below.

The loop
    1. The host calls inputs: ``propose``, ``receive``, ``read_index``, ``peer_up``, ``flushed``, ``job_done``
       and others. They note what came, and decide next to nothing.
    2. It calls ``step()``: after any input, and at ``Ready.deadline``. Where ``receive`` or ``flushed``
       returns False a step would decide nothing, and may wait for the next input.
    3. It calls ``ready()`` and does what the ``Ready`` says: sends the messages at once and in order, then
       begins to save the vote or to flush the log, runs jobs, and notes the deadline.
    4. What it does on disk ends in another input: ``save_vote()`` and then ``vote_saved()``; ``log.write()``,
       ``log.sync()`` and then ``flushed(durable_index)``; a job and then ``job_done``. ``save_vote``,
       ``log.write``, ``log.sync`` and jobs run in any thread; one thread at a time works on a group's log. An
       error of the disk goes to ``flush_failed``, after which the replica takes part in nothing.

What must be durable before what (safeguard C4)
    - Term and vote, before any message that tells of them, and before any entry of that term is written. So a
      step ends where either changes; the group *stands still*, which means that it takes in, says and writes
      nothing, until ``vote_saved()``.
    - An entry, before a follower acknowledges it: the response stays in the group until ``flushed``.
    - An entry, before a leader counts itself for it. A leader *sends* entries before its own fsync.
    - An entry, on this replica, before it is applied here: a checkpoint never holds more than the log.
    - A state that replaces the log, before it is acknowledged. The group stands still meanwhile.

What always holds
    - Along a log terms never fall, indexes follow each other without a hole, and so do offsets.
    - ``log.base_index - 1 <= applied_index <= min(commit_index, log.durable_index)``, and neither
      ``applied_index`` nor ``high_watermark`` falls, but for a restart.
    - A committed entry is never removed from a log; ``LogDiverged`` ends the replica before that.
    - Two replicas never lead in one term, and a replica never votes twice in one.
    - Each proposal ends as exactly one of ``Stored``, ``NotStored`` and ``Unknown``, within a step.
    - The state machine is given each committed entry once and in order; after a restart or an install it may
      be given some that its restored state covers.
    The simulator checks these after every step. Those of a leader's view of each follower stand at
    ``Progress`` in replication.py.

Where to read on: group.py (``Group``), ready.py (``Ready``), group_parts.py (what a step does, in order),
dispatch.py (what each message does), replication.py and acknowledge.py (the two sides of AppendEntries),
prevote.py (elections), engine.py (pysyncobj, which decides terms, votes and commits).
"""
