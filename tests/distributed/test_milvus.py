"""An index on a Milvus server: what it adds to the common contract, and everything that fails."""

import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from _milvus import free_port, pretending
from _rows import found, make_rows, slow_search
from earsight.errors import InputError, LibraryError
from earsight.vectors import MilvusIndex, Row, _server, check_address, open_index, reach
from earsight.vectors import milvus as engine


@pytest.fixture
def index(milvus):
    made = MilvusIndex(milvus.address, f"t_{uuid.uuid4().hex}")
    made.create(5)
    yield made
    made.drop()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(_server, "_CONNECT", 2.0)


# What it is found by


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("embedded", "embedded"),
        ("milvus://here", "milvus://here:19530"),
        ("milvus://here:7/", "milvus://here:7"),
        ("milvus://[::1]:7", "milvus://[::1]:7"),
        ("milvus+tls://here:443", "milvus+tls://here:443"),
    ],
)
def test_an_address_is_kept_in_one_form(given, kept):
    assert check_address(given) == check_address(kept) == kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("here:19530", r"embedded or milvus://host:port; got 'here:19530'"),
        ("http://here", "embedded, milvus://host:port or milvus\\+tls://host:port; got"),
        ("milvus://", "got 'milvus://'"),
        ("milvus://here:port", "milvus://host:port.*port"),
        ("milvus://here:99999", "milvus://host:port.*[Pp]ort"),
        ("milvus://here/database", "got 'milvus://here/database'"),
    ],
)
def test_what_is_no_address_is_told(given, message):
    with pytest.raises(InputError, match=message):
        check_address(given)


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(InputError, match="set EARSIGHT_MILVUS_TOKEN") as told:
        check_address("milvus://me:secret@here")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("name", ["", "1", "a-b", "a b", 'a"', "é", "a" * 256])
def test_a_name_that_the_server_would_not_take_is_told(name):
    with pytest.raises(InputError, match="letters, digits and _ alone"):
        open_index("milvus://here", None, name)


# Whom it finds there


def test_nothing_listens():
    address = f"milvus://127.0.0.1:{free_port()}"
    with pytest.raises(LibraryError, match=f"{address} cannot be used as index: nothing answers"):
        reach(address)


def test_a_web_server_is_no_milvus():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(LibraryError, match="does not answer as Milvus does"):
            reach(f"milvus://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


def test_what_never_answers_is_no_milvus():
    silent = socket.create_server(("127.0.0.1", 0))
    with silent, pytest.raises(LibraryError, match="does not answer as Milvus does"):
        reach(f"milvus://127.0.0.1:{silent.getsockname()[1]}")


def test_an_old_server_is_told_its_version():
    with pretending("v2.2.9") as port, pytest.raises(LibraryError) as told:
        reach(f"milvus://127.0.0.1:{port}")
    assert str(told.value).endswith("runs Milvus v2.2.9; Earsight needs 2.5 or newer.")
    with pretending("v2.6.1") as port:
        reach(f"milvus://127.0.0.1:{port}")


def test_an_old_client_is_told_its_version(milvus, monkeypatch):
    monkeypatch.setattr("pymilvus.__version__", "2.3.7")
    with pytest.raises(LibraryError, match=r"pymilvus 2\.3\.7 is installed.*2\.6 or newer: pip"):
        reach(milvus.address)


def test_the_extra_is_named_where_it_is_not_installed(milvus, monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(LibraryError, match=re.escape("pip install 'earsight[milvus]'")):
        reach(milvus.address)


def test_the_token_comes_from_the_environment(monkeypatch):
    with pretending("v2.6.1", token="me:secret") as port:
        address = f"milvus://127.0.0.1:{port}"
        with pytest.raises(LibraryError, match="wants to know who asks: EARSIGHT_MILVUS_TOKEN"):
            reach(address)
        monkeypatch.setenv("EARSIGHT_MILVUS_TOKEN", "me:wrong")
        for trusted in ("", "another.example:19530"):  # its token is not for this server
            monkeypatch.setenv("EARSIGHT_MILVUS_SERVER", trusted)
            with pytest.raises(
                LibraryError, match=rf"EARSIGHT_MILVUS_SERVER=127\.0\.0\.1:{port}, "
            ):
                reach(address)
        monkeypatch.setenv("EARSIGHT_MILVUS_SERVER", f"127.0.0.1:{port}")
        with pytest.raises(LibraryError, match="does not let in who is named by") as told:
            reach(address)
        assert "wrong" not in str(told.value)
        monkeypatch.setenv("EARSIGHT_MILVUS_TOKEN", "me:secret")
        reach(address)


REACH = "import sys; from earsight.vectors import reach; reach(sys.argv[1])"


@pytest.mark.long
def test_tls_is_spoken_to_whom_the_machine_trusts(tmp_path):
    key, certificate = certified()
    (tmp_path / "roots.pem").write_bytes(certificate)
    with pretending("v2.6.1", tls=(key, certificate)) as port:
        address = f"milvus+tls://localhost:{port}"
        with pytest.raises(LibraryError, match="does not answer as Milvus does"):
            reach(address)
        command = [sys.executable, "-c", REACH, address]
        roots = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "roots.pem")}
        subprocess.run(command, env=os.environ | roots, check=True)


def certified():
    """Return a private key and a certificate for localhost, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.NameOID.COMMON_NAME
    name = x509.Name([x509.NameAttribute(name, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    signed = made.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    return (
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        signed.public_bytes(pem),
    )


# What it ranks


def test_a_clear_ranking_needs_no_look_at_all_rows(index, monkeypatch):
    rng = np.random.default_rng(0)
    rows, vectors = make_rows(500), rng.normal(size=(500, 5)).astype("f4")
    index.upsert(rows, vectors)
    monkeypatch.setattr(MilvusIndex, "read", None)
    query = rng.normal(size=5) * 1e60  # more than float32 holds
    assert found(index.search(query[None, :], 5)[0]) == slow_search(rows, vectors, query, 5)


@pytest.mark.parametrize("apart", [0.0, 1e-7])
def test_where_single_precision_cannot_tell_all_rows_are_compared(index, apart):
    rng = np.random.default_rng(1)
    rows = make_rows(300)
    vectors = np.tile(rng.normal(size=5), (300, 1))
    vectors[:, 0] *= 1 + apart * rng.permutation(300)
    vectors = vectors.astype("f4")
    order = rng.permutation(300)
    index.upsert([rows[i] for i in order], vectors[order])
    got = index.search(vectors[:1], 7)[0]
    assert found(got) == slow_search(rows, vectors, vectors[0], 7)


def test_more_rows_than_one_message_holds(index, monkeypatch):
    monkeypatch.setattr(engine, "_MESSAGE", 100 * 4 * 5)
    rng = np.random.default_rng(2)
    rows, vectors = make_rows(250), rng.normal(size=(250, 5)).astype("f4")
    index.upsert(rows, vectors)
    assert [len(page) for page, _ in index.read()] == [100, 100, 50]
    got = index.search(vectors[:1], 200)[0]
    assert found(got) == slow_search(rows, vectors, vectors[0], 200)


@pytest.mark.parametrize("key", ['a"b', "a\\b", "a\nb"])
def test_a_key_that_would_break_out_of_a_filter_is_refused(index, key):
    with pytest.raises(InputError, match="no quote"):
        index.upsert([Row(key, "c", "audio", 0, 0.0, 1.0)], np.ones((1, 5)))
    assert index.count() == 0


# What fails


def test_a_server_lost_while_writing_keeps_what_was_acknowledged(own_milvus, monkeypatch):
    monkeypatch.setattr(engine, "_TIMEOUT", 2.0)
    index = MilvusIndex(own_milvus.address, "rows")
    index.create(5)
    index.upsert(make_rows(50), np.ones((50, 5)))
    own_milvus.kill()
    lost = r"Cannot write collection 'rows' on milvus://.*does not answer any more.*acknowledged"
    with pytest.raises(LibraryError, match=lost):
        index.upsert(make_rows(50, 50), np.ones((50, 5)))
    with pytest.raises(LibraryError, match=r"Cannot read collection 'rows'.*any more"):
        index.search(np.ones((1, 5)), 3)
    own_milvus.start()
    monkeypatch.undo()
    assert index.rows() == make_rows(50)
    index.upsert(make_rows(50, 50), np.ones((50, 5)))
    assert index.count() == 100


def test_a_collection_that_is_gone_or_anothers_says_so(index, milvus):
    again = MilvusIndex(milvus.address, index.name)
    assert again.dim == 5
    milvus.client.drop_collection(index.name)
    for use in (again, MilvusIndex(milvus.address, index.name)):
        with pytest.raises(LibraryError, match=r"it is not there\. To make it anew"):
            use.search(np.ones((1, 5)), 1)
    milvus.client.create_collection(index.name, dimension=5)
    with pytest.raises(LibraryError, match=r"is none of Earsight's.*it has other fields"):
        MilvusIndex(milvus.address, index.name).create(5)
    assert milvus.client.has_collection(index.name)


def test_a_table_killed_while_it_was_made_is_finished(index, milvus):
    index.drop()
    index._ask("make", "create_collection", schema=index._schema(5), consistency_level=0)
    again = MilvusIndex(milvus.address, index.name)
    again.create(5)
    again.upsert(make_rows(3), np.ones((3, 5)))
    assert len(again.search(np.ones((1, 5)), 9)[0]) == 3
