"""The provider: where records come from, issuing them, and the customer's pages.

An institution lets its customers take their own records away as packages. `records` reads what
it has, `issue` signs and registers, `offers` hands over, `server` is what customers see.
"""
