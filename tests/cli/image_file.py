"""Image files made from a bare record stream, by the specification in format/README.md alone: to put
damage behind right checksums. Shares no code with format/."""

import struct
import subprocess
import tempfile

MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def rotl(x, n):
    return (x << n | x >> (64 - n)) & MASK


def mix(acc, lane):
    return rotl((acc + lane * P2) & MASK, 31) * P1 & MASK


def xxh64(data):
    """XXH64 with seed 0."""
    at, n = 0, len(data)
    if n >= 32:
        v = [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
        while n - at >= 32:
            v = [mix(a, lane) for a, lane in zip(v, struct.unpack_from("<4Q", data, at))]
            at += 32
        h = sum(rotl(a, r) for a, r in zip(v, (1, 7, 12, 18))) & MASK
        for a in v:
            h = ((h ^ mix(0, a)) * P1 + P4) & MASK
    else:
        h = P5
    h = (h + n) & MASK
    while n - at >= 8:
        h = (rotl(h ^ mix(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & MASK
        at += 8
    if n - at >= 4:
        h = (rotl(h ^ struct.unpack_from("<I", data, at)[0] * P1 & MASK, 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        h = rotl(h ^ byte * P5 & MASK, 11) * P1 & MASK
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


def sealed(data):
    return data + struct.pack("<Q", xxh64(data))


def records(plain):
    at = n = 0
    while at < len(plain):
        at += struct.unpack_from("<II", plain, at)[1]
        n += 1
    return n


def image_file(plain, major=1, minor=0, count=None):
    """An image of one frame; `count` is the number of its records where they cannot be walked."""
    with tempfile.NamedTemporaryFile() as f:
        f.write(plain)
        f.flush()
        frame = subprocess.run(["zstd", "-qc1", f.name], capture_output=True, check=True).stdout
    head = sealed(struct.pack("<II8sHHI", 0x184D2A50, 24, b"ckpt img", major, minor, 0))
    frame_head = sealed(struct.pack("<IIIIQQQ", 0x184D2A51, 40, len(frame), len(plain), 0, 0,
                                    xxh64(frame)))
    index_at = len(head) + len(frame_head) + len(frame)
    index = struct.pack("<QQQQII", 1, len(head), 0, 0, len(frame), len(plain))
    index += struct.pack("<QQQ8s", len(plain), count or records(plain), index_at, b"ckpt idx")
    index = sealed(struct.pack("<II", 0x184D2A52, len(index) + 8) + index)
    return head + frame_head + frame + index


def record_stream(image):
    return subprocess.run(["zstd", "-dcq"], input=image, capture_output=True, check=True).stdout
