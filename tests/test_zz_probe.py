import sys
sys.path.insert(0,"/work/main")
from tests.test_tracking import *
import asyncio
async def look(request):
    held = visitor.capture(request)
    t = await atrack("AddToCart", request, **CART)
    print(dict(held.cookies), held.host, held.has_middleware, t)
    return HttpResponse("x")
urlpatterns = [path("add/", look)]
@pytest.mark.urls(__name__)
def test_x(shop):
    post_async("/add/")
