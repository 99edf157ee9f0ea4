"""The jobs of the shop, found because this module is called `jobs`."""

import soniq


@soniq.job(name="shop.send_receipt", queue="emails", max_retries=2)
def send_receipt(order_id: int) -> None:
    """Stands for sending one."""


@soniq.job(name="shop.resize_picture", queue="pictures")
def resize_picture(path: str, width: int = 640) -> None:
    """Stands for resizing one."""


@soniq.job(name="shop.rebuild_index", unique=True)
def rebuild_index(shop: str) -> None:
    """Stands for rebuilding one."""
