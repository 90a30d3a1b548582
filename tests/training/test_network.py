"""The interface that gloo and NCCL use, between hosts and on one machine."""

import os
import sys

import pytest

from hwcls.training import network

NAMES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="interfaces are found by Linux's ioctl")


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that what a test sets is undone
        monkeypatch.delenv(name)


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "file:///tmp/store"])
def test_on_one_machine_it_is_the_loopback_interface(address):
    assert network._interface("127.0.0.1") == "lo"
    assert network._interface("192.0.2.77") is None  # an address of no interface
    network.choose_network(address)
    assert [os.environ[name] for name in NAMES] == ["lo", "=lo"]


def test_the_network_that_leads_to_rank_0_is_chosen_but_a_setting_of_the_user_stays(monkeypatch):
    """NCCL takes a plain name for a prefix: eth1 would also mean eth10."""
    monkeypatch.setattr(network, "_interface", lambda own: {"10.0.0.3": "eth1"}[own])
    monkeypatch.setattr(network, "_own_address", lambda host, port: "10.0.0.3")
    network.choose_network("10.0.0.2:5000")
    assert [os.environ[name] for name in NAMES] == ["eth1", "=eth1"]
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "ib0")
    network.choose_network("10.0.0.2:5000")
    assert os.environ["NCCL_SOCKET_IFNAME"] == "ib0"
