from __future__ import annotations

from recsys_assets.places import Place


def test_a_place_is_called_tenant_and_surface_and_equal_by_both() -> None:
    assert Place("shop", "home").name == "shop/home"
    assert {Place("shop", "home"), Place("shop", "home")} == {Place(surface="home", tenant="shop")}
    assert Place("shop", "home") != Place("home", "shop")
