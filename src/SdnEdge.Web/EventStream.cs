using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using SdnEdge.Core.Api;

namespace SdnEdge.Web;

/// <summary>A daemon's events as server-sent events (WHATWG HTML, 9.2).</summary>
public static class EventStream
{
    private static readonly TimeSpan s_heartbeat = TimeSpan.FromSeconds(15);

    /// <summary>Maps <c>/events</c>: <see cref="EventRecord"/> as data, its sequence as id. Without Last-Event-ID the stream starts with
    /// what happens from now on; with it (0 = from the oldest kept) it resumes.</summary>
    /// <param name="routes">Where.</param>
    /// <param name="events">The events.</param>
    /// <param name="daemon">What a stream begins with, for people.</param>
    /// <param name="stopping">Ends all streams.</param>
    /// <param name="until">Asked when a stream begins: what ends it earlier. It may refuse by a <see cref="ProblemException"/>; null =
    /// nothing does.</param>
    public static RouteHandlerBuilder MapEvents(this RouteGroupBuilder routes, EventLog events, string daemon, CancellationToken stopping,
        Func<CancellationToken>? until = null)
        => routes.MapGet("/events", (Delegate)((HttpContext context) =>
                StreamAsync(context, events, daemon, until?.Invoke() ?? CancellationToken.None, stopping)))
            .Says("Server-sent events: EventRecord as data, its sequence as id; Last-Event-ID resumes").WithTags("events")
            .Produces<EventRecord>(200, "text/event-stream");

    private static async Task StreamAsync(
        HttpContext context, EventLog events, string daemon, CancellationToken until, CancellationToken stopping)
    {
        long place = events.Newest;
        if (context.Request.Headers.TryGetValue("Last-Event-ID", out Microsoft.Extensions.Primitives.StringValues value)
            && !long.TryParse(value.ToString(), out place))
            throw new ProblemException(Problems.BadRequest(
                $"Last-Event-ID '{value}' is not a number; send the id of the last event you have, or 0 for all that are kept"));
        context.Response.ContentType = "text/event-stream";
        context.Response.Headers.CacheControl = "no-store";
        using var end = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, until, stopping);
        try
        {
            await context.Response.WriteAsync($": events of {daemon}\n\n", end.Token);
            while (!end.IsCancellationRequested)
            {
                IReadOnlyList<EventRecord> list = events.After(place, out long missed);
                if (missed > 0) await context.Response.WriteAsync($"event: missed\ndata: {{\"missed\":{missed}}}\n\n", end.Token);
                foreach (EventRecord record in list)
                {
                    string json = JsonSerializer.Serialize(record, ApiJson.Options.For<EventRecord>());
                    await context.Response.WriteAsync($"id: {record.Sequence}\nevent: {record.Kind}\ndata: {json}\n\n", end.Token);
                    place = record.Sequence;
                }

                await context.Response.Body.FlushAsync(end.Token);
                Task more = events.WaitAsync(place, end.Token);
                if (await Task.WhenAny(more, Task.Delay(s_heartbeat, end.Token)) !=
                    more) await context.Response.WriteAsync(": still here\n\n", end.Token);
            }
        }
        catch (OperationCanceledException)
        {
            // The client or the daemon ended the stream.
        }
    }
}
