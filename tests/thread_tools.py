"""What tests of threads share."""

import threading


def in_threads(work, count):
    """Run work(k) for each k < count in a thread of its own; raises what the first one that failed has raised."""
    failed = []

    def guarded(k):
        try:
            work(k)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
