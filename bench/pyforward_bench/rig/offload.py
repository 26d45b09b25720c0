"""A device's offload settings, asked and set as ethtool does, which need not be installed.

The features are known by their names as ``ethtool -k`` prints them (linux/ethtool.h,
net/core/netdev_features and ``ETHTOOL_GFEATURES``). Everything here works on devices of the
namespace of the calling thread.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Mapping

SEGMENTATION = "tx-udp-segmentation"
"""Whether the device takes trains whole, as a NIC with USO does."""

SHOWN = (SEGMENTATION, "tx-generic-segmentation", "rx-gro", "tx-checksum-ip-generic")
"""What a result tells of each device."""

_SIOCETHTOOL = 0x8946
_GET_STRINGS = 0x1B
_GET_SET_INFO = 0x37
_GET_FEATURES = 0x3A
_SET_FEATURES = 0x3B
_FEATURES = 4  # ETH_SS_FEATURES
_NAME_BYTES = 32  # ETH_GSTRING_LEN


def features(device: str) -> Mapping[str, bool]:
    """Each feature by its name, and whether it is on. Raises OSError."""
    names = _names(device)
    blocks = _blocks(len(names))
    request = bytearray(struct.pack("=II", _GET_FEATURES, blocks)) + bytes(16 * blocks)
    answer = _ask(device, request)
    active = [struct.unpack_from("=4I", answer, 8 + 16 * block)[2] for block in range(blocks)]
    return {name: bool(active[at // 32] >> (at % 32) & 1) for at, name in enumerate(names) if name}


def set_feature(device: str, name: str, *, on: bool) -> None:
    """Raises OSError where the device does not do it, KeyError where the kernel has no such."""
    names = _names(device)
    if name not in names:
        raise KeyError(name)
    at, blocks = names.index(name), _blocks(len(names))
    words = [0] * (2 * blocks)  # pairs of (valid, requested)
    words[2 * (at // 32)] = 1 << (at % 32)
    words[2 * (at // 32) + 1] = (1 << (at % 32)) if on else 0
    _ask(device, bytearray(struct.pack(f"=II{len(words)}I", _SET_FEATURES, blocks, *words)))
    if features(device)[name] is not on:
        raise OSError(f"{device} keeps {name} {'off' if on else 'on'}")


# Private -----------------------------------------------------------------------------------------


def _names(device: str) -> list[str]:
    mask = struct.pack("=IIQI", _GET_SET_INFO, 0, 1 << _FEATURES, 0)
    (count,) = struct.unpack_from("=I", _ask(device, bytearray(mask)), 16)
    request = bytearray(struct.pack("=III", _GET_STRINGS, _FEATURES, count))
    answer = _ask(device, request + bytes(_NAME_BYTES * count))
    raw = (answer[12 + _NAME_BYTES * at :][:_NAME_BYTES] for at in range(count))
    return [bytes(name).split(b"\0")[0].decode("ascii", "replace") for name in raw]


def _blocks(count: int) -> int:
    return (count + 31) // 32


def _ask(device: str, request: bytearray) -> bytes:
    """``struct ifreq`` holds a name and a pointer to the request, which the answer overwrites."""
    buffer = array.array("B", request)
    address, _ = buffer.buffer_info()
    call = struct.pack("16sP16x", device.encode(), address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, call)
    return buffer.tobytes()
