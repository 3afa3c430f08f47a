using System.Runtime.CompilerServices;
using System.Text.Json;
using SdnEdge.Client;
using SdnEdge.Core.Api;

namespace SdnEdge.Cli.Commands.Migrate;

/// <summary>
/// Follows one migration to its end: the manager's events say when to look, and where none comes it looks all the same. A manager that
/// does not answer is asked again, for as long as it takes: it goes on with the migration when it is started again.
/// </summary>
/// <param name="mms">The manager.</param>
/// <param name="id">The migration.</param>
/// <param name="poll">Longest time between two looks.</param>
/// <param name="say">Told when the manager goes away and comes back.</param>
internal sealed class MigrationWatch(MmsClient mms, string id, TimeSpan poll, Action<string> say) : IDisposable
{
    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(500);

    private readonly SemaphoreSlim _news = new(0);

    /// <inheritdoc/>
    public void Dispose() => _news.Dispose();

    /// <summary>The migration as it is now, then each time that it was looked at and had changed; the last one has ended.</summary>
    /// <param name="unchanged">True: also the looks that brought nothing new, for a view that counts time.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="ApiProblemException">The manager does not know the migration, or refuses to say.</exception>
    public async IAsyncEnumerable<MigrationStatus> ChangesAsync(bool unchanged, [EnumeratorCancellation] CancellationToken cancel)
    {
        using var listening = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task listener = ListenAsync(listening.Token);
        try
        {
            string? before = null, life = null;
            bool away = false;
            while (true)
            {
                MigrationStatus? now = null;
                try
                {
                    if (away || life is null)
                    {
                        string incarnation = (await mms.NodeAsync(cancel)).Incarnation;
                        if (away)
                            say(incarnation == life ? $"{mms.Name} answers again."
                                : $"{mms.Name} was started again; the migration goes on.");
                        (away, life) = (false, incarnation);
                    }

                    now = await mms.MigrationAsync(id, cancel);
                }
                catch (ApiUnreachableException e) when (life is not null)
                {
                    if (!away) say($"{e.Message}; it is asked again until it answers.");
                    away = true;
                }

                if (now is not null)
                {
                    string text = JsonSerializer.Serialize(now, ApiJson.Options.For<MigrationStatus>());
                    if (unchanged || text != before) yield return now;
                    before = text;
                    if (now.Ended) yield break;
                }

                await _news.WaitAsync(away ? Retry : poll, cancel);
                while (_news.CurrentCount > 0) await _news.WaitAsync(cancel);
            }
        }
        finally
        {
            await listening.CancelAsync();
            await listener;
        }
    }

    private async Task ListenAsync(CancellationToken cancel)
    {
        try
        {
            while (true)
            {
                try
                {
                    await foreach (EventRecord e in mms.EventsAsync(cancel: cancel))
                    {
                        if (e.Subject == id) _news.Release();
                    }
                }
                catch (Exception e) when (e is ApiUnreachableException or ApiProblemException or IOException
                    or HttpRequestException or JsonException)
                {
                    // The looks go on without it, and say so where the manager is away.
                }

                await Task.Delay(Retry, cancel);
            }
        }
        catch (OperationCanceledException)
        {
        }
    }
}
