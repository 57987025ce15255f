"""`client.memory` against a real server."""

from __future__ import annotations

import pytest
from tests.conftest import Server

import yangfan
from yangfan import errors
from yangfan.client.types import MemoryPair, StoredMemory


@pytest.fixture(name="client")
def client_fixture(echo_server: Server):
    with yangfan.Client(
        echo_server.base_url,
        access_key=echo_server.access_key,
        secret_access_key=echo_server.secret_access_key,
    ) as client:
        yield client


def test_system_memory_is_kept(client: yangfan.Client):
    memory_id = client.memory.create_system("sdk-system", "about")
    client.memory.set_system(memory_id, [("who?", "me")])
    pairs = (MemoryPair("who?", "me"),)
    assert client.memory.get_system(memory_id) == StoredMemory(
        memory_id, "sdk-system", "about", pairs
    )
    assert [item.id for item in client.memory.list_system("sdk-system")] == [memory_id]
    client.memory.delete_system(memory_id)
    with pytest.raises(errors.NotFound, match="no system memory"):
        client.memory.get_system(memory_id)


def test_lists_of_many_pages_come_whole(client: yangfan.Client):
    made = [client.memory.create_user("sdk-many") for _ in range(101)]
    assert [item.id for item in client.memory.list_user("sdk-many")] == made
    assert len(client.memory.list_user()) >= 101


def test_user_memory_is_kept_and_changed(client: yangfan.Client):
    memory_id = client.memory.create_user("sdk-user", "likes tea")
    client.memory.set_user("sdk-user", memory_id, [("a", "b")])
    client.memory.set_user("sdk-user", memory_id, [("c", "d")], keep=True)
    first, second = client.memory.get_user("sdk-user", memory_id).pairs
    assert (first.user, second.system) == ("a", "d")
    client.memory.change_user("sdk-user", memory_id, MemoryPair("a", "B", first.id))
    client.memory.delete_user("sdk-user", memory_id, second.id)
    found = client.memory.get_user("sdk-user", memory_id)
    assert found.pairs == (MemoryPair("a", "B", first.id),)
    client.memory.delete_user("sdk-user", memory_id)
    assert client.memory.list_user("sdk-user") == ()
