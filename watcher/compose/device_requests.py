"""Read requests for devices (`gpus`, reservations, CDI names) and disk limits."""

from __future__ import annotations

from watcher.compose.field import Field, Section
from watcher.compose.specparts import BlockIo, DeviceRequest

_ALL = -1


def read_gpus(field: Field) -> tuple[DeviceRequest, ...]:
    """Return `gpus`: `all`, or a list of requests."""
    if isinstance(field.value, str):
        if field.value != "all":
            raise field.error("must be all, or a list of device requests")
        return (DeviceRequest(count=_ALL, capabilities=("gpu",)),)
    return tuple(_read_request(item, ("gpu",)) for item in field.items())


def read_reservations(field: Field) -> tuple[DeviceRequest, ...]:
    """Return `deploy.resources.reservations.devices`."""
    return tuple(_read_request(item, ()) for item in field.items())


def _read_request(item: Field, implied: tuple[str, ...]) -> DeviceRequest:
    section = Section(item)
    ids = section.read("device_ids", Field.words, ())
    count = section.read("count", _read_count, None)
    if ids and count is not None:
        raise item.error("must not have both count and device_ids")
    given = section.read("capabilities", Field.words, ())
    if not given and not implied:
        raise item.error("must have capabilities, such as [gpu]")
    request = DeviceRequest(
        driver=section.read("driver", Field.text, ""),
        count=count if count is not None else 0 if ids else _ALL,
        device_ids=ids,
        capabilities=tuple(dict.fromkeys((*given, *implied))),
        options=section.read("options", Field.labels, {}),
    )
    section.end("a device request")
    return request


def _read_count(field: Field) -> int:
    if isinstance(field.value, str) and field.value.lower() == "all":
        return _ALL
    return field.integer(_ALL)


def is_named_device(item: Field) -> bool:
    """Return whether an entry of `devices` is a Container Device Interface name, `vendor/class=name`."""
    text = item.value
    if isinstance(text, dict):
        text = text.get("source")
    if not isinstance(text, str) or text.startswith("/"):
        return False
    kind, equals, name = text.partition("=")
    vendor, slash, device_class = kind.partition("/")
    return bool(equals and slash and vendor and device_class and name)


def read_named_devices(field: Field) -> tuple[DeviceRequest, ...]:
    """Return the request for the entries of `devices` that are CDI names."""
    named = [item for item in field.items() if is_named_device(item)]
    names = [item.value["source"] if isinstance(item.value, dict) else item.text() for item in named]
    return (DeviceRequest(driver="cdi", device_ids=tuple(dict.fromkeys(names))),) if names else ()


def read_block_io(field: Field) -> BlockIo:
    """Return the limits of `blkio_config`."""
    section = Section(field)
    found = BlockIo(
        weight=section.read("weight", lambda given: given.integer(0, 1000), 0),
        weight_device=section.read("weight_device", _read_weights, ()),
        device_read_bps=section.read("device_read_bps", _read_rates, ()),
        device_write_bps=section.read("device_write_bps", _read_rates, ()),
        device_read_iops=section.read("device_read_iops", _read_rates, ()),
        device_write_iops=section.read("device_write_iops", _read_rates, ()),
    )
    section.end("a blkio_config")
    return found


def _read_weights(field: Field) -> tuple[tuple[str, int], ...]:
    return _read_device_values(field, "weight")


def _read_rates(field: Field) -> tuple[tuple[str, int], ...]:
    return _read_device_values(field, "rate")


def _read_device_values(field: Field, what: str) -> tuple[tuple[str, int], ...]:
    found = []
    for item in field.items():
        section = Section(item)
        path, value = section.need("path", "a device"), section.need(what, "a number")
        section.end("a limit of a device")
        found.append((path.word(), value.size()))
    return tuple(found)
