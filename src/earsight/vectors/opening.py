"""Where an index is: `embedded`, beside what it belongs to, or on a server, by its address."""

from earsight.errors import InputError
from earsight.storage import Location
from earsight.vectors._base import VectorTable
from earsight.vectors._server import Server
from earsight.vectors.lance import LanceIndex
from earsight.vectors.milvus import MilvusIndex

EMBEDDED = "embedded"


def check_address(address: str) -> str:
    """Return an address as it is kept; nothing is connected.

    >>> check_address("milvus://vectors.example")
    'milvus://vectors.example:19530'

    Raises:
        InputError: It is none.
    """
    if address == EMBEDDED:
        return address
    if "://" not in address:
        raise InputError(f"An index must be {EMBEDDED} or milvus://host:port; got {address!r}.")
    return str(Server.parse(address))


def reach(address: str) -> None:
    """Check that what is at an address answers, within seconds.

    Raises:
        LibraryError: Nothing listens there, it is no Milvus or one of another version, or its
            client is not installed.
    """
    if address != EMBEDDED:
        Server.parse(address).connect()


def open_index(address: str, folder: Location, name: str) -> VectorTable:
    """Return a table of an index, whether or not it is there already.

    Args:
        address: "embedded", or "milvus://host:port".
        folder: Where the tables of the embedded index are.
        name: The table's name; on a server letters, digits and `_`.

    Raises:
        InputError: No such address or name.
    """
    if address == EMBEDDED:
        return LanceIndex(folder, name)
    return MilvusIndex(address, name)
