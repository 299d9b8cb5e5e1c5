"""Who the other processes of a run are, and their last words."""
import contextlib
import os
import socket
import struct
import sys
import threading

from torch import distributed as dist

if sys.platform == 'linux':
    import fcntl
    SIOCGIFADDR = 0x8915  # of linux/sockios.h


class Peers:
    """The other processes of the run, as they know of each other outside of their group.

    Args:
        store: of the group.
    """

    def __init__(self, store: dist.Store):
        self._store = dist.PrefixStore('peers', store)
        rank = dist.get_rank()
        self._store.set(f'name/{rank}', f'{socket.gethostname()} ({own_address()})')
        self.names = [self._store.get(f'name/{each}').decode() for each in range(dist.get_world_size())]
        self.others = [each for each in range(len(self.names)) if each != rank]
        self._own_rank = rank

    def tell(self, word: str) -> None:
        """Leave a last word for the others."""
        thread = threading.Thread(target=self._store.set, args=(f'word/{self._own_rank}', word), daemon=True)
        thread.start()
        thread.join(1)  # the store may be on a machine that is gone

    def told_by(self, rank: int) -> str | None:
        """The last word of a process, None as long as it has none."""
        return self._store.get(f'word/{rank}').decode() if self._store.check([f'word/{rank}']) else None


_peers: Peers | None = None


def meet_peers(store: dist.Store) -> None:
    """Let the processes of the group that meets in `store` know of each other. Every process must call it."""
    global _peers
    _peers = Peers(store)


def current_peers() -> Peers | None:
    """The other processes; None on one process alone."""
    return _peers if dist.is_initialized() and dist.get_world_size() > 1 else None


def own_address() -> str:
    """The address under which this machine reaches that of process 0; '?' without a way there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((os.environ['MASTER_ADDR'], 1))  # sends nothing
        except OSError:
            return '?'
        return sock.getsockname()[0]


def interface_of(address: str) -> str | None:
    """Name of the network interface that has this IPv4 address, None where the system does not tell."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex() if sys.platform == 'linux' else []:
            with contextlib.suppress(OSError):  # an interface without an address
                found = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack('256s', name.encode()[:15]))
                if socket.inet_ntoa(found[20:24]) == address:
                    return name
    return None
