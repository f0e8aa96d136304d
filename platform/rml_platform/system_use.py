"""What a run's process and its machine are busy with, under the names that MLflow gives its own
system metrics, so that it draws them where a person looks for them.

Measured by the process that trains, as everything else that a run records: workers need neither
MLflow nor a way to its server, nothing is lost while that is away, and it costs no thread.
"""

from collections.abc import Callable

import psutil

from rml_dashboards.contract.metric_keys import SYSTEM
from rml_trainers.runtime.device_use import DeviceUse

MEGABYTE = 1e6


class SystemUse:
    """Gives the mean since it was asked last, where that has a meaning, and else the moment."""

    def __init__(self, device_use: Callable[[], DeviceUse | None]) -> None:
        """`device_use`: what the process uses of its GPU."""
        self._device_use = device_use
        self._process = psutil.Process()
        self._network = _bytes_so_far()
        psutil.cpu_percent()  # the first answer of both is none
        self._process.cpu_percent()

    def __call__(self) -> dict[str, float]:
        """Values by metric: per cent of all cores of the machine and of one core by this process,
        memory and traffic in megabytes (10⁶ bytes)."""
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage("/")
        found = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "process_cpu_utilization_percentage": self._process.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_usage_megabytes": self._process.memory_info().rss / MEGABYTE,
            "disk_usage_percentage": disk.percent,
            "disk_available_megabytes": disk.free / MEGABYTE,
            **self._traffic(),
            **self._of_gpu(),
        }
        return {f"{SYSTEM}/{name}": float(value) for name, value in found.items()}

    def _traffic(self) -> dict[str, float]:
        """Since the measuring began."""
        received, sent = _bytes_so_far()
        return {
            "network_receive_megabytes": (received - self._network[0]) / MEGABYTE,
            "network_transmit_megabytes": (sent - self._network[1]) / MEGABYTE,
        }

    def _of_gpu(self) -> dict[str, float]:
        use = self._device_use()
        if use is None:
            return {}
        found = {"gpu_0_memory_usage_megabytes": use.memory_bytes / MEGABYTE}
        if use.busy_percent is not None:
            found["gpu_0_utilization_percentage"] = use.busy_percent
        return found


def _bytes_so_far() -> tuple[int, int]:
    """Bytes received and sent through all interfaces; a machine may have none."""
    each = psutil.net_io_counters(pernic=True).values()
    return sum(one.bytes_recv for one in each), sum(one.bytes_sent for one in each)
