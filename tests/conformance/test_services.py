"""The published `qianfan` package, unchanged, publishes, finds, calls and measures services (specification D.3, D.4, E.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conformance.conftest import Programs  # pyright: ignore[reportMissingImports]
    from tests.conftest import Server  # pyright: ignore[reportMissingImports] - for readers; importlib mode has no packages


def _environ(server: Any) -> dict[str, str]:
    return {
        "QIANFAN_BASE_URL": server.base_url,
        "QIANFAN_CONSOLE_API_BASE_URL": server.base_url,
        "QIANFAN_IAM_BASE_URL": server.base_url,
        "QIANFAN_DISABLE_CACHE": "true",
        "QIANFAN_DEPLOY_STATUS_POLLING_INTERVAL": "0.2",
        "QIANFAN_ACCESS_KEY": server.access_key,
        "QIANFAN_SECRET_KEY": server.secret_access_key,
    }


def test_services_of_the_official_package(echo_server: Server, programs: Programs) -> None:
    found = programs.run("qianfan_services", environ=_environ(echo_server))

    assert found["made"]["serviceId"].startswith("svco-")
    assert found["shown"]["runStatus"] == found["status"] == "Serving"
    assert found["shown"]["resourceConfig"] == {"type": "GPU-I-2", "qps": 5.0, "replicasCount": 1}
    assert found["shown"]["url"].startswith(f"{echo_server.base_url}/")
    assert found["answer"] == "hi"
    (app,) = found["metrics"]["appList"]
    assert app["metric"]["succeedCallTotal"] == 1
    assert [item["name"] for item in found["list"]["custom"]] == ["official"]
    assert "ERNIE-Speed-8K" in [item["name"] for item in found["list"]["common"]]
    assert found["modified"] is True
    assert [item["name"] for item in found["pages"]["serviceList"]] == ["official"]
    assert {item["chargeStatus"] for item in found["presets"]["serviceList"]} == {"Free"}
    assert found["v1"]["uri"] == "official-v1"
    assert found["v1"]["serviceStatus"] in {"New", "Deploying", "Serving"}
    assert found["discovered"] == "found"


def test_the_official_deploy_loop_ends_with_a_service_that_answers(
    echo_server: Server, programs: Programs
) -> None:
    found = programs.run("qianfan_deploy", environ=_environ(echo_server))

    set_id, version_id = found["model"]
    assert set_id.startswith("am-")
    assert version_id.startswith("amv-")
    assert (found["endpoint"], found["status"], found["answer"]) == ("deployed", "Serving", "hi")
    # The package's own suffix is longer than Qianfan allows.
    assert found["unnamed"] == f"svc{set_id}_{version_id}"
    assert found["streamed"] == "a b"
