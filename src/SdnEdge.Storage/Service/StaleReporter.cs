using SdnEdge.Client;
using SdnEdge.Core.Api;
using SdnEdge.Storage.Config;
using ClientIdentity = SdnEdge.Client.ClientIdentity;

namespace SdnEdge.Storage.Service;

/// <summary>
/// Brings the reports of owners to the manager: "the replica is stale from sequence S on", and that it is whole again. An answer means that
/// the manager has it in its journal. Nothing is repeated here: the volume's machine makes its report again until it is confirmed.
/// </summary>
internal sealed class StaleReporter : IDisposable
{
    // Longest wait for one answer; the report is then made again.
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(5);

    private readonly MmsClient _mms;

    /// <summary>Makes it; nothing is connected before the first report.</summary>
    /// <exception cref="IOException">The certificate, its key or the authority cannot be read.</exception>
    public StaleReporter(StoreManagerConfig manager)
    {
        ClientIdentity? identity = manager is { Certificate: { } certificate, Key: { } key, Authority: { } authority }
            ? ClientIdentity.Load(certificate, key, authority) : null;
        _mms = new MmsClient(new ApiEndpoint("the manager", manager.Api, identity)) { RequestTimeout = s_longest };
    }

    /// <summary>Makes a report; null = it is on record, else why it is not, for people.</summary>
    public async Task<string?> ReportAsync(StaleReport report, CancellationToken cancel)
    {
        try
        {
            await _mms.ReportAsync(report, cancel);
            return null;
        }
        catch (ApiProblemException e)
        {
            return $"the manager refuses it: {e.Problem.Detail}";
        }
        catch (ApiUnreachableException e)
        {
            return e.Message;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _mms.Dispose();
}
