"""Content codings of the simulator's answers: right, cut short, or corrupt."""

import gzip
import zlib

from proxy.simulator.directives import Directives
from proxy.simulator.events import Piece
from proxy.simulator.streams import NUMBER


def coded(pieces: list[Piece], directives: Directives) -> list[Piece]:
    """The pieces in the content coding asked for."""
    if not any(name in directives for name in ("gzip", "gzip_cut", "gzip_corrupt")):
        return pieces
    # A number cannot be filled in after compression.
    plain = [Piece(p.data.replace(NUMBER, b"0" * len(NUMBER)), p.paced, p.bill) for p in pieces]
    if "gzip_corrupt" in directives:
        whole = gzip.compress(b"".join(piece.data for piece in plain), mtime=0)
        middle = len(whole) // 2
        return [Piece(whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 8]) + whole[middle + 8 :])]
    packer = zlib.compressobj(wbits=31)
    # Each event is flushed, or nothing would be readable before the end.
    packed = [Piece(packer.compress(p.data) + packer.flush(zlib.Z_SYNC_FLUSH), p.paced, p.bill) for p in plain]
    if "gzip_cut" in directives:
        # In the middle of the last token, or of the body where there is but one piece.
        cut = max((i for i, piece in enumerate(packed) if piece.bill.completion), default=0)
        return [*packed[:cut], *(Piece(piece.data[: len(piece.data) // 2]) for piece in packed[cut : cut + 1])]
    return [*packed, Piece(packer.flush())]
