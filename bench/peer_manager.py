#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Python's multiprocessing: the Manager's dict, a Queue between two processes, the Manager's start.

    peer_manager.py get N     manager dict, random gets
    peer_manager.py set N     manager dict, random sets of keys that are there
    peer_manager.py stream    multiprocessing.Queue, from one process to another
    peer_manager.py start     from the Manager's start (a fork, all imports done) to the first set done
"""

import json
import multiprocessing
import random
import statistics
import sys
import time

KEY_SIZE = 16
VALUE_SIZE = 100
ITEM_SIZE = 64
N_CALLS = 5000
N_STREAM = 100000
FILL_STEP = 20000


def emit(metric, samples, note=""):
    """Prints the line that bench.h describes."""
    print(json.dumps({"metric": metric, "unit": "ns", "median": statistics.median(samples), "min": min(samples),
                      "max": max(samples), "reps": len(samples), "note": note}), flush=True)


def run_calls(n, is_set):
    """Times gets or sets of random keys of a manager dict that holds n of them."""
    rng = random.Random(1)
    keys = [rng.randbytes(KEY_SIZE) for _ in range(n)]
    value = bytes(VALUE_SIZE)
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        for start in range(0, n, FILL_STEP):
            shared.update({key: value for key in keys[start:start + FILL_STEP]})
        samples = []
        for _ in range(3):
            picked = rng.sample(keys, min(n, N_CALLS))
            start = time.perf_counter_ns()
            if is_set:
                for key in picked:
                    shared[key] = value
            else:
                for key in picked:
                    shared[key]
            samples.append((time.perf_counter_ns() - start) / len(picked))
    emit("set" if is_set else "get", samples)


def produce(queue, barrier, n, reps):
    """The producing end of the stream."""
    item = bytes(ITEM_SIZE)
    for _ in range(reps):
        barrier.wait()
        for _ in range(n):
            queue.put(item)


def run_stream():
    """Times a stream of small items, from a common start to the last one received."""
    queue = multiprocessing.Queue()
    barrier = multiprocessing.Barrier(2)
    reps = 5
    producer = multiprocessing.Process(target=produce, args=(queue, barrier, N_STREAM, reps))
    producer.start()
    samples = []
    for _ in range(reps):
        barrier.wait()
        start = time.perf_counter_ns()
        for _ in range(N_STREAM):
            queue.get()
        samples.append((time.perf_counter_ns() - start) / N_STREAM)
    producer.join()
    emit("stream", samples, "unbounded")


def run_start():
    """Times the start of a manager up to the first set."""
    samples = []
    for _ in range(5):
        start = time.perf_counter_ns()
        manager = multiprocessing.Manager()
        manager.dict()["k"] = "v"
        samples.append(time.perf_counter_ns() - start)
        manager.shutdown()
    emit("start", samples, "to the first set")


def main():
    """Runs the row that is named on the command line."""
    if len(sys.argv) == 3 and sys.argv[1] in ("get", "set"):
        run_calls(int(sys.argv[2]), sys.argv[1] == "set")
    elif sys.argv[1:] == ["stream"]:
        run_stream()
    elif sys.argv[1:] == ["start"]:
        run_start()
    else:
        sys.exit("usage: peer_manager.py get|set N, peer_manager.py stream|start")


if __name__ == "__main__":
    main()
